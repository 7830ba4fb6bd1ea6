"""Files of the machine itself as a source: for the laptop, where the function runs as the person who asks.

`TORPOR_ALLOWED_SOURCE_FOLDERS` names what may be read; on a cluster it is empty, and every `file://` source is refused.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from functions.download.hub import Listing
from functions.download.layout import Span
from functions.download.plan import MAX_FILES, RemoteFile
from functions.download.problems import SourceChanged, SourceRefused, SourceUnwell
from functions.download.ranges import OnBytes, Origin
from functions.download.sources import FolderSource


@dataclass(frozen=True, slots=True)
class Folders:
    """What file:// sources may name. allowed: absolute folders; a link out of them leads nowhere."""

    allowed: Sequence[str]

    async def listing(self, source: FolderSource) -> Listing:
        """The files of a folder, or the one file. Raises SourceRefused, SourceUnwell."""
        return await asyncio.to_thread(self._list, Path(source.path))

    async def read(self, origin: Origin, span: Span, _: float, on_bytes: OnBytes) -> bytes:
        """The bytes of `span`. Raises SourceChanged when the file is another one by now, SourceRefused, SourceUnwell."""
        data = await asyncio.to_thread(self._read, origin, span)
        on_bytes(len(data))
        return data

    def resolve(self, path: Path) -> Path:
        """The file or folder behind all links. Raises SourceRefused unless it lies in an allowed folder."""
        try:
            found = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise _refused(path, error) from error
        if not any(found.is_relative_to(Path(folder).resolve()) for folder in self.allowed):
            raise SourceRefused(
                "source-forbidden",
                f"{path} is in no folder that file:// sources may name: an operator allows them with "
                "TORPOR_ALLOWED_SOURCE_FOLDERS",
            )
        return found

    def _list(self, root: Path) -> Listing:
        found = self.resolve(root)
        paths = _below(found) if found.is_dir() else [found]
        base = found if found.is_dir() else found.parent
        files: list[RemoteFile] = []
        urls: dict[str, str] = {}
        etags: dict[str, str] = {}
        for path in paths:
            target = self.resolve(path)
            name = path.relative_to(base).as_posix()
            status = _status(target)
            if stat.S_ISREG(status.st_mode):
                files.append(RemoteFile(name, status.st_size))
                urls[name], etags[name] = target.as_uri(), _version(status)
        digest = hashlib.sha256(repr(sorted(etags.items())).encode()).hexdigest()
        return Listing(digest, files, urls, etags)

    def _read(self, origin: Origin, span: Span) -> bytes:
        path = self.resolve(_path_of(origin.url))
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            if _version(os.fstat(handle)) != origin.etag:
                raise SourceChanged(f"{path.name} is another file than when it was planned")
            return _pread(handle, span)
        except OSError as error:
            raise SourceUnwell(f"{path.name} cannot be read ({error.strerror})") from error
        finally:
            os.close(handle)


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder but what is hidden; links to folders are not entered."""
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            count += 1
            if count > MAX_FILES:
                raise SourceRefused("plan-refused", f"{folder} holds more than {MAX_FILES} files")
            if not name.startswith("."):
                yield Path(place, name)


def _pread(handle: int, span: Span) -> bytes:
    pieces: list[bytes] = []
    position = span.start
    while position < span.end:
        piece = os.pread(handle, span.end - position, position)
        if not piece:
            raise SourceChanged("the file is shorter than it was")
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _refused(path, error) from error


def _version(status: os.stat_result) -> str:
    """What stands for an ETag: a file that was written to, or replaced, has another."""
    return f'"{status.st_mtime_ns:x}-{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}"'


def _path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _refused(path: Path, error: Exception) -> SourceRefused:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceRefused("file-not-found", f"{path} does not exist on the machine that runs the function")
    return SourceRefused("source-forbidden", f"{path} cannot be read: {error}")
