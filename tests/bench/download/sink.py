"""A fast S3: checks signatures and hashes as S3 does, and keeps what it is sent in memory.

    python -m tests.bench.download.sink ACCESS_KEY SECRET_KEY [discard]

Knows what uploads need. The signature of every request is checked, and of every body the SHA-256 that was signed or the
checksum beside it. `GET /.digests/PREFIX` answers what objects hold. discard: keep the sizes alone. Prints its port.
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from tests.bench.download.wire import Request, serve

_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


# Bytes, and how many they were when they came.
Block: TypeAlias = tuple[bytes | bytearray, int]


class Refused(Exception):
    """The answer is 400 or 403 with this code."""


@dataclass
class Sink:
    """The bucket: objects as lists of blocks, uploads as numbered blocks."""

    access_key: str
    secret_key: str
    discard: bool
    objects: dict[str, list[Block]] = field(default_factory=dict)
    uploads: dict[str, dict[int, Block]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, request: Request) -> None:
        """Answer one request."""
        if request.target.startswith("/."):
            request.connection.answer(200, body=json.dumps(self._tell(request.target)).encode())
            return
        body = request.body()
        try:
            self._check(request, body)
            self._answer(request, body)
        except Refused as error:
            request.connection.answer(403, body=f"{_XML}<Error><Code>{error}</Code></Error>".encode())

    def _tell(self, target: str) -> list[str]:
        """For the benchmark alone: digests of what lies under a prefix, or away with everything."""
        if target == "/.clear":
            self.objects.clear()
            self.uploads.clear()
        prefix = unquote(target.removeprefix("/.digests/"))
        return [_digest(blocks) for key, blocks in self.objects.items() if key.startswith(prefix)]

    def _check(self, request: Request, body: bytearray) -> None:
        """Raise Refused for a wrong signature, a wrong body, or a body that nothing vouches for."""
        payload = request.headers.get("x-amz-content-sha256", "")
        if signature(request, self.secret_key) != request.headers.get("authorization", "").rpartition("=")[2]:
            raise Refused("SignatureDoesNotMatch")
        if payload != _UNSIGNED:
            if hashlib.sha256(body).hexdigest() != payload:
                raise Refused("XAmzContentSHA256Mismatch")
        elif body and (crc := request.headers.get("x-amz-checksum-crc32")) is not None:
            if base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode() != crc:
                raise Refused("BadDigest")
        elif len(body) > 1 << 20:
            raise Refused("MissingContentChecksum")

    def _answer(self, request: Request, body: bytearray) -> None:
        query = dict(parse_qsl(request.url.query, keep_blank_values=True))
        key = unquote(request.url.path).lstrip("/").partition("/")[2]
        with self._lock:
            status, headers, answer = self._act(request.method, key, query, body, request.headers)
        if request.method == "HEAD":
            request.connection.answer(status, headers)
        else:
            request.connection.answer(status, headers, answer)

    def _act(
        self, method: str, key: str, query: Mapping[str, str], body: bytearray, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        match method, "uploads" in query, query.get("uploadId"):
            case "POST", True, _:
                upload = hashlib.md5(f"{key}{len(self.uploads)}".encode(), usedforsecurity=False).hexdigest()
                self.uploads[upload] = {}
                return 200, {}, _xml(f"<UploadId>{upload}</UploadId>", "InitiateMultipartUploadResult")
            case "PUT", _, str(upload):
                number = int(query["partNumber"])
                # The first part holds what readers of headers look at.
                self.uploads[upload][number] = (b"" if self.discard and number > 1 else body, len(body))
                return 200, {"ETag": _etag(number, len(body))}, b""
            case "GET", _, str(upload):
                return 200, {}, _xml(_parts(self.uploads.get(upload, {})), "ListPartsResult")
            case "POST", _, str(upload):
                parts = self.uploads.pop(upload)
                self.objects[key] = [block for _, block in sorted(parts.items())]
                return 200, {}, _xml(f"<ETag>{_etag(len(parts), 0)}</ETag>", "CompleteMultipartUploadResult")
            case "DELETE", _, str(upload):
                self.uploads.pop(upload, None)
                return 204, {}, b""
            case _:
                return self._plain(method, key, query, body, headers)

    def _plain(
        self, method: str, key: str, query: Mapping[str, str], body: bytearray, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "PUT":
            self.objects[key] = [(body, len(body))]
            return 200, {"ETag": _etag(1, len(body))}, b""
        if method == "POST":
            self.objects.clear()
            return 200, {}, _xml("", "DeleteResult")
        if not key:
            name = "ListMultipartUploadsResult" if "uploads" in query else "ListBucketResult"
            return 200, {}, _xml("<IsTruncated>false</IsTruncated>", name)
        if key not in self.objects:
            return 404, {}, b"" if method == "HEAD" else _xml("<Code>NoSuchKey</Code>", "Error")
        size = sum(size for _, size in self.objects[key])
        if method == "HEAD":
            return 200, {"Content-Length": str(size), "ETag": _etag(1, size)}, b""
        first, _, last = headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        data = _cut(self.objects[key], int(first), int(last) + 1 if last else size)
        return (
            206,
            {"Content-Range": f"bytes {first}-{int(first) + len(data) - 1}/{size}", "ETag": _etag(1, size)},
            data,
        )


def signature(request: Request, secret_key: str) -> str:
    """What Signature Version 4 makes of the request (docs.aws.amazon.com, `create-signed-request`)."""
    headers = request.headers
    words = headers.get("authorization", "").replace(",", " ").split()
    given = dict(word.split("=", 1) for word in words if "=" in word)
    scope = given.get("Credential", "///").split("/", 1)[1]
    names = given.get("SignedHeaders", "")
    lines = "".join(f"{name}:{headers.get(name, '')}\n" for name in names.split(";"))
    pairs = sorted(parse_qsl(request.url.query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    payload = headers.get("x-amz-content-sha256", "")
    canonical = f"{request.method}\n{request.url.path}\n{query}\n{lines}\n{names}\n{payload}"
    text = (
        f"AWS4-HMAC-SHA256\n{headers.get('x-amz-date', '')}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _digest(blocks: Sequence[Block]) -> str:
    digest = hashlib.sha256()
    for data, _ in blocks:
        digest.update(data)
    return digest.hexdigest()


def _etag(number: int, size: int) -> str:
    return f'"{number:08x}{size:024x}"'


def _xml(content: str, name: str) -> bytes:
    return f"{_XML}<{name}>{content}</{name}>".encode()


def _parts(parts: Mapping[int, Block]) -> str:
    return "<IsTruncated>false</IsTruncated>" + "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(_etag(number, size))}</ETag><Size>{size}</Size></Part>"
        for number, (_, size) in sorted(parts.items())
    )


def _cut(blocks: Sequence[Block], start: int, end: int) -> bytes:
    found = bytearray()
    for block, size in blocks:
        if start < size and end > 0:
            found += block[max(0, start) : end]
        start, end = start - size, end - size
    return bytes(found)


if __name__ == "__main__":
    serve(
        Sink(sys.argv[1], sys.argv[2], discard="discard" in sys.argv[3:]).handle,
        lambda port: print(port, flush=True),  # noqa: T201  # its answer to who started it
    )
