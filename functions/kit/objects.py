"""Objects in S3: the store of models. One protocol, and boto3 behind it, in threads and only when first used.

Keys are relative to the bucket. Bad luck becomes `Retry`; a refused credential or a missing bucket is named.
The file is long because every call of S3 that is used is one short method beside the others.
"""

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from functions.kit.problem import Retry, Unavailable
from functions.kit.settings import Secret

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 3
# A part is at most tens of megabytes; a server that is silent for this long has stalled.
READ_TIMEOUT_S: Final = 60
# Bad luck of a second passes by itself; what lasts longer the caller has to know of.
ATTEMPTS: Final = 3
# Parallel part uploads of one instance; each holds one connection.
CONNECTIONS: Final = 16
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
# Operations that need room on S3's disk.
_STORING: Final = frozenset(
    {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
)
_SERVER_ERROR: Final = 500
# What an operator must mend; everything else may pass by itself.
_REFUSED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403"})


class ObjectExists(Exception):
    """The object is there already, and the write was conditional on its absence."""


class ObjectChanged(Exception):
    """The object is another one than the ETag says that was asked for."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key, size in bytes and ETag."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class CopySource:
    """The bytes start..end-1 of that version of an object on the same server."""

    bucket: str
    key: str
    etag: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """One uploaded part: its number (from 1), ETag and size in bytes.

    crc32: of the bytes that were sent; -1 where it is not known, since not every S3 lists it.
    """

    number: int
    etag: str
    size: int
    crc32: int = -1


class Objects(Protocol):
    """What the functions need of an object store."""

    async def put(self, key: str, data: bytes | bytearray, *, if_none_match: bool = False, if_match: str = "") -> str:
        """Write an object, answer its ETag. Raises ObjectExists when `if_none_match` and it is there.

        if_match: the ETag of what it replaces; ObjectExists is raised too when something else is there.
        """

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """Read an object, or its bytes start..end-1; None when absent."""

    async def head(self, key: str) -> ObjectInfo | None:
        """Size and ETag, or None when absent."""

    async def keys(self, prefix: str) -> list[ObjectInfo]:
        """All objects under a prefix."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; absent ones are fine."""

    async def start_upload(self, key: str, *, witnessed: bool = False) -> str:
        """Begin a multipart upload, answer its id. witnessed: it is completed with the CRC32 of every part."""

    async def put_part(self, key: str, upload_id: str, number: int, data: bytes | bytearray, crc32: int) -> Part:
        """Upload one part (5 MiB at least, except the last) of a witnessed upload: with its CRC32, which S3 checks."""

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        """The parts the store holds, by number; empty when the upload is unknown."""

    async def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """Make the object out of its parts, answer its ETag."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the parts away; an unknown upload is fine."""

    async def uploads(self, prefix: str) -> list[tuple[str, str]]:
        """Unfinished uploads under a prefix as (key, upload id)."""


class S3Objects:
    """`Objects` on any S3: AWS, SeaweedFS, MinIO, Ceph."""

    def __init__(  # noqa: PLR0913  # what a connection to S3 is made of
        self,
        endpoint: str,
        region: str,
        access_key: Secret,
        secret_key: Secret,
        bucket: str,
        *,
        attempts: int = ATTEMPTS,
    ) -> None:
        """attempts: how often a call is made before its caller hears of it, with the SDK's pauses between them."""
        self._endpoint = endpoint
        self._attempts = attempts
        self._region = region
        self._keys = (access_key, secret_key)
        self.bucket = bucket
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def put(self, key: str, data: bytes | bytearray, *, if_none_match: bool = False, if_match: str = "") -> str:
        """See Objects."""
        condition = {"IfNoneMatch": "*"} if if_none_match else {"IfMatch": if_match} if if_match else {}
        answer = await self._call("put_object", Key=key, Body=data, **condition)
        return str(answer["ETag"])

    async def get(self, key: str, start: int | None = None, end: int | None = None, *, etag: str = "") -> bytes | None:
        """See Objects. etag: of that version alone. Raises ObjectChanged."""
        asked = {} if start is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        asked |= {"IfMatch": etag} if etag else {}

        def read(client: Any) -> bytes:
            return bytes(client.get_object(Bucket=self.bucket, Key=key, **asked)["Body"].read())

        with _changed(etag):
            return await self._absent_is_none(read)

    async def head(self, key: str) -> ObjectInfo | None:
        """See Objects."""

        def read(client: Any) -> ObjectInfo:
            answer = client.head_object(Bucket=self.bucket, Key=key)
            return ObjectInfo(key, int(answer["ContentLength"]), str(answer["ETag"]))

        return await self._absent_is_none(read)

    async def keys(self, prefix: str, most: int | None = None) -> list[ObjectInfo]:
        """See Objects. most: no more than so many."""

        def read(client: Any) -> list[ObjectInfo]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            found = (entry for page in pages for entry in page.get("Contents", ()))
            return [ObjectInfo(entry["Key"], int(entry["Size"]), entry["ETag"]) for entry in islice(found, most)]

        return await self._run(read)

    async def delete(self, keys: Sequence[str]) -> None:
        """See Objects."""
        for first in range(0, len(keys), _DELETE_BATCH):
            batch = [{"Key": key} for key in keys[first : first + _DELETE_BATCH]]
            answer = await self._call("delete_objects", Delete={"Objects": batch, "Quiet": True})
            # 200 says that the question was understood.
            for left in answer.get("Errors", ())[:1]:
                raise Retry(5, f"S3 did not delete {left.get('Key')}: {left.get('Code')} {left.get('Message', '')}")

    async def start_upload(self, key: str, *, witnessed: bool = False) -> str:
        """See Objects."""
        checked = {"ChecksumAlgorithm": "CRC32"} if witnessed else {}
        return str((await self._call("create_multipart_upload", Key=key, **checked))["UploadId"])

    async def put_part(self, key: str, upload_id: str, number: int, data: bytes | bytearray, crc32: int) -> Part:
        """See Objects."""
        place = {"Key": key, "UploadId": upload_id, "PartNumber": number}
        answer = await self._call("upload_part", **place, Body=data, ChecksumCRC32=_base64(crc32))
        return Part(number, str(answer["ETag"]), len(data), crc32)

    async def copy_part(self, key: str, upload_id: str, number: int, source: CopySource) -> None:
        """Have the server put a range of another object into a part: the bytes never come here. Raises ObjectChanged."""
        with _changed(source.etag):
            await self._call(
                "upload_part_copy",
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": source.bucket, "Key": source.key},
                CopySourceRange=f"bytes={source.start}-{source.end - 1}",
                CopySourceIfMatch=source.etag,
            )

    async def copy(self, key: str, source: CopySource) -> None:
        """Have the server copy a whole object of at most 5 GB. Raises ObjectChanged."""
        with _changed(source.etag):
            await self._call(
                "copy_object",
                Key=key,
                CopySource={"Bucket": source.bucket, "Key": source.key},
                CopySourceIfMatch=source.etag,
            )

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        """See Objects."""

        def read(client: Any) -> list[Part]:
            pages = client.get_paginator("list_parts").paginate(Bucket=self.bucket, Key=key, UploadId=upload_id)
            found = (entry for page in pages for entry in page.get("Parts", ()))
            return [Part(int(entry["PartNumber"]), entry["ETag"], int(entry["Size"])) for entry in found]

        return await self._absent_is_none(read) or []

    async def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """See Objects."""
        listed = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumCRC32": _base64(part.crc32)} if part.crc32 >= 0 else {})
            for part in parts
        ]
        answer = await self._call(
            "complete_multipart_upload", Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
        )
        return str(answer["ETag"])

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """See Objects."""

        def abort(client: Any) -> None:
            client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

        await self._absent_is_none(abort)

    async def uploads(self, prefix: str) -> list[tuple[str, str]]:
        """See Objects."""

        def read(client: Any) -> list[tuple[str, str]]:
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
            return [(entry["Key"], entry["UploadId"]) for page in pages for entry in page.get("Uploads", ())]

        return await self._run(read)

    async def ping(self) -> None:
        """For `/readyz`: the bucket answers."""
        await self._call("head_bucket")

    async def _call(self, operation: str, **arguments: Any) -> Any:
        return await self._run(lambda client: getattr(client, operation)(Bucket=self.bucket, **arguments))

    async def _absent_is_none(self, work: Callable[[Any], T]) -> T | None:
        from botocore.exceptions import ClientError

        def guarded(client: Any) -> T | None:
            try:
                return work(client)
            except ClientError as error:
                if _code(error) in _ABSENT or _code(error) == "NoSuchUpload":
                    return None
                raise

        return await self._run(guarded)

    async def _run(self, work: Callable[[Any], T]) -> T:
        client = await self._open()
        return await asyncio.to_thread(_named, work, client)

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._connect)
            return self._client

    def _connect(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "max_attempts": self._attempts},
            s3={
                # Most S3 servers serve one host name only; virtual-hosted buckets are AWS's alone.
                "addressing_style": "path",
                # SHA-256 of every body for its signature takes 0.7 s of a core per GiB. As the SDK does over TLS, leave it
                # out; what came is checked by CRC32, and a network that may change it on purpose wants https.
                "payload_signing_enabled": False,
            },
            # The SDK's default CRC32 trailers are refused by older S3 servers; parts bring theirs in a header.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        access, secret = (key.reveal() for key in self._keys)
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._endpoint or None,
            region_name=self._region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=config,
        )


# S3's own limit for one DeleteObjects call.
_DELETE_BATCH: Final = 1000


def _base64(crc32: int) -> str:
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _named(work: Callable[[Any], T], client: Any) -> T:
    with _translated():
        return work(client)


def _explained(error: Any) -> str:
    """S3's own words. A full disk has no code of its own in S3: servers answer InternalError, so say where to look."""
    said = f"S3 answered {_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
    failed = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= _SERVER_ERROR
    return (
        f"{said} If this lasts, look whether S3 has space left."
        if failed and error.operation_name in _STORING
        else said
    )


@contextlib.contextmanager
def _changed(etag: str) -> Iterator[None]:
    """A condition that failed is about the version, where one was asked for."""
    try:
        yield
    except ObjectExists as error:
        raise ObjectChanged(etag) from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in {"PreconditionFailed", "412"}:
            raise ObjectExists from error
        if code in _REFUSED:
            raise Unavailable(f"S3 refuses access ({code}): check the bucket and the keys of this function") from error
        raise Retry(5, _explained(error)) from error
    except BotoCoreError as error:
        raise Retry(5, f"S3 does not answer ({type(error).__name__}); try again") from error
