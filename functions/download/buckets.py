"""Objects of another bucket as a source: copied by the server where it is the one that keeps the models, read otherwise.

`TORPOR_ALLOWED_SOURCE_BUCKETS` names what may be read: the keys may read more than whoever asks should.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, unquote

from functions.download.files import FileRow
from functions.download.hub import Listing
from functions.download.layout import Span
from functions.download.plan import MAX_FILES, RemoteFile
from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell
from functions.download.ranges import OnBytes, Origin
from functions.download.sources import BucketSource
from functions.kit.objects import CopySource, ObjectChanged, ObjectInfo, S3Objects
from functions.kit.problem import Retry, Unavailable

_SCHEME = "s3://"


class Buckets:
    """What s3:// sources may name. connect: the objects of a bucket, by its name."""

    def __init__(self, allowed: Sequence[str], connect: Callable[[str], S3Objects]) -> None:
        self._allowed = frozenset(allowed)
        self._connect = connect
        self._open: dict[str, S3Objects] = {}

    async def listing(self, source: BucketSource) -> Listing:
        """The objects under the prefix, or the one that it names. Raises SourceRefused, SourceUnwell."""
        folder = f"{source.prefix}/" if source.prefix else ""
        with _named(source.bucket):
            bucket = self._bucket(source.bucket)
            found = await bucket.keys(folder, MAX_FILES + 1)
            if not found and (one := await bucket.head(source.prefix)) is not None:
                found, folder = [one], source.prefix.rpartition("/")[0]
                folder = f"{folder}/" if folder else ""
        if len(found) > MAX_FILES:
            raise SourceRefused("plan-refused", f"more than {MAX_FILES} objects lie under {source.prefix}")
        if not found:
            raise SourceRefused(
                "file-not-found", f"the bucket {source.bucket} has nothing under {source.prefix or '/'}"
            )
        return _listing(source.bucket, folder, found)

    async def read(self, origin: Origin, span: Span, _: float, on_bytes: OnBytes) -> bytes:
        """The bytes of `span`. Raises SourceChanged, SourceRefused, SourceUnwell."""
        bucket, key = _place(origin.url)
        with _named(bucket):
            data = await self._bucket(bucket).get(key, span.start, span.end, etag=origin.etag)
        if data is None or len(data) != span.size:
            raise SourceChanged(f"{key} is no longer there, or shorter")
        on_bytes(len(data))
        return data

    async def copy(self, models: S3Objects, file: FileRow, origin: Origin, span: Span) -> None:
        """Have the server put `span` into the file's upload. Raises SourceChanged, SourceRefused, SourceUnwell."""
        bucket, key = _place(origin.url)
        part = CopySource(bucket, key, origin.etag, span.start, span.end)
        with _named(bucket):
            self._bucket(bucket)
            await models.copy_part(file.key, file.upload_id or "", span.number, part)

    def _bucket(self, name: str) -> S3Objects:
        if name not in self._allowed:
            raise SourceRefused(
                "source-forbidden",
                f"s3:// sources may not name the bucket {name}: an operator allows it with TORPOR_ALLOWED_SOURCE_BUCKETS",
            )
        if name not in self._open:
            self._open[name] = self._connect(name)
        return self._open[name]


def _listing(bucket: str, folder: str, found: Sequence[ObjectInfo]) -> Listing:
    """Objects as files; the digest of all ETags stands for the revision. A key that ends in / is a folder's mark."""
    objects = {info.key.removeprefix(folder): info for info in found if not info.key.endswith("/")}
    etags = {path: info.etag for path, info in objects.items()}
    urls = {path: f"{_SCHEME}{bucket}/{quote(info.key)}" for path, info in objects.items()}
    revision = hashlib.sha256(repr(sorted(etags.items())).encode()).hexdigest()
    return Listing(revision, [RemoteFile(path, info.size) for path, info in objects.items()], urls, etags)


def _place(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix(_SCHEME).partition("/")
    return bucket, unquote(key)


@contextlib.contextmanager
def _named(bucket: str) -> Iterator[None]:
    """S3's troubles as those of a source: it is not our store that fails."""
    try:
        yield
    except ObjectChanged as error:
        raise SourceChanged(f"an object of {bucket} has changed (ETag)") from error
    except Retry as error:
        raise SourceUnwell(f"the bucket {bucket}: {error.detail}") from error
    except Unavailable as error:
        raise SourceRefused("source-forbidden", f"the bucket {bucket}: {error.detail}") from error
