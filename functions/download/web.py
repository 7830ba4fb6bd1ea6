"""A single file at an address: its size and version, pinned before the first byte."""

from functions.download.http import SourceHttp, version
from functions.download.hub import Listing
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused
from functions.download.sources import WebSource

# Of a size: more is larger than S3's largest object.
MOST_DIGITS = 13
_PARTIAL = 206
_WHOLE = 200


class Web:
    """Files of the web, behind the guard of its SourceHttp."""

    def __init__(self, http: SourceHttp) -> None:
        self._http = http

    async def listing(self, source: WebSource) -> Listing:
        """The one file. Raises SourceRefused, SourceUnwell.

        Asks for one byte instead of HEAD: signed addresses are often good for GET alone, and the answer shows whether
        the source honours ranges.
        """
        async with self._http.get(source.url, {"Range": "bytes=0-0"}) as response:
            if response.status not in {_PARTIAL, _WHOLE}:
                raise refusal(source.host, response.status)
            size = _size(response.status, response.headers.get("Content-Range", ""), response.content_length)
            etag = version(response.headers)
        if size is None:
            raise SourceRefused("size-unknown", f"{source.host} does not tell the size of the file")
        if not etag:
            raise SourceRefused(
                "version-unknown",
                f"{source.host} sends neither ETag nor Last-Modified: parts of two versions could not be told apart",
            )
        file = RemoteFile(source.file_name, size)
        return Listing(etag, [file], {file.path: source.url}, {file.path: etag})


def refusal(host: str, status: int) -> SourceRefused:
    """What a status of a plain web server means."""
    if status in {401, 403}:
        return SourceRefused(
            "source-forbidden", f"{host} refuses access ({status}): the address needs a signature or a login"
        )
    if status in {404, 410}:
        return SourceRefused("file-not-found", f"{host} has no such file ({status})")
    return SourceRefused("source-refused", f"{host} answered {status}")


def _size(status: int, content_range: str, content_length: int | None) -> int | None:
    if status == _WHOLE:
        return content_length
    total = content_range.rpartition("/")[2]
    return int(total) if total.isascii() and total.isdigit() and len(total) <= MOST_DIGITS else None
