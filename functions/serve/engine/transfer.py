"""Reads a model's files from S3 in order-preserving parallel ranges and hashes them on the way. Called by `fetch`."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from functions.kit.objects import ObjectInfo
from functions.kit.problem import Retry
from functions.serve.engine import manifest as manifests
from functions.serve.engine.manifest import Manifest, ManifestFile, Refused
from functions.serve.engine.sink import Sink, open_sink

T = TypeVar("T")

# One read from S3: large enough that its round trip does not show, small enough that 8 of them are 64 MiB.
RANGE_BYTES: Final = 8 * 1024 * 1024
# A store that was started together with us may need a moment: 0.5 + 1 + 2 + 4 + 8 s.
ATTEMPTS: Final = 6
BACK_OFF_S: Final = 0.5
# Files at once; the ranges of one file already fill the connections, more only keeps them full at a file's end.
FILES_AT_ONCE: Final = 2


class Source(Protocol):
    """The two reads that an engine needs of the object store."""

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """An object's bytes start..end-1, or None when it is absent."""

    async def head(self, key: str) -> ObjectInfo | None:
        """An object's size, or None when it is absent."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which model, where to, and how. parallel: ranges in flight. weights_in: `memory` or `disk`."""

    model_uuid: str
    directory: Path
    weights_in: str = "memory"
    parallel: int = 8


async def fetch_model(source: Source, order: Order, configured: Callable[[], None]) -> list[Sink]:
    """Fetch and verify everything; call `configured` once the small files are there.

    Raises Refused for a model that is not what was verified, Retry when S3 stays silent.
    """
    manifest = await _manifest(source, order)
    connections = asyncio.Semaphore(order.parallel)
    small = manifests.small_files(manifest)
    contents = await asyncio.gather(*(_small(source, order, file, connections) for file in small))
    configured()
    index = dict(zip((file.path for file in small), contents, strict=True)).get(manifests.INDEX)
    at_once = asyncio.Semaphore(FILES_AT_ONCE)
    weights = manifests.weight_files(manifest, index)
    return list(await asyncio.gather(*(_weights(source, order, file, connections, at_once) for file in weights)))


async def _manifest(source: Source, order: Order) -> Manifest:
    data = await patiently(lambda: source.get(f"manifests/{order.model_uuid}.json"))
    if data is None:
        raise Refused(f"there is no manifest for model {order.model_uuid}: it is not available; download it first")
    manifest = manifests.parse(data, order.model_uuid)
    found = await asyncio.gather(*(_size(source, file) for file in manifest.files))
    manifests.check_stored(manifest, {path: size for path, size in found if size is not None})
    return manifest


async def _size(source: Source, file: ManifestFile) -> tuple[str, int | None]:
    info = await patiently(lambda: source.head(file.key))
    return file.path, None if info is None else info.size


async def _small(source: Source, order: Order, file: ManifestFile, connections: asyncio.Semaphore) -> bytes:
    data = b"".join([part async for part in _ranges(source, order, file, connections)])
    manifests.check_digest(file, hashlib.sha256(data).hexdigest())
    target = order.directory / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return data


async def _weights(
    source: Source, order: Order, file: ManifestFile, connections: asyncio.Semaphore, at_once: asyncio.Semaphore
) -> Sink:
    async with at_once:
        sink = open_sink(order.weights_in, order.directory / file.path)
        digest = hashlib.sha256()
        async for part in _ranges(source, order, file, connections):
            await asyncio.gather(asyncio.to_thread(digest.update, part), asyncio.to_thread(sink.write, part))
        sink.finish()
        manifests.check_digest(file, digest.hexdigest())
        return sink


async def _ranges(
    source: Source, order: Order, file: ManifestFile, connections: asyncio.Semaphore
) -> AsyncIterator[bytes]:
    """The file's bytes in order, read ahead by as many ranges as there are connections."""

    async def read(start: int) -> bytes:
        end = min(start + RANGE_BYTES, file.size)
        async with connections:
            data = await patiently(lambda: source.get(file.key, start, end))
        if data is None or len(data) != end - start:
            raise Refused(f"{file.path} changed in the bucket while it was read; download the model again")
        return data

    ahead: deque[asyncio.Task[bytes]] = deque()
    for start in range(0, file.size, RANGE_BYTES):
        ahead.append(asyncio.create_task(read(start)))
        if len(ahead) >= order.parallel:
            yield await ahead.popleft()
    while ahead:
        yield await ahead.popleft()


async def patiently(
    read: Callable[[], Awaitable[T]], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Repeat a read that may work later, with doubling pauses. Raises its last Retry after ATTEMPTS tries."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return await read()
        except Retry:
            await sleep(BACK_OFF_S * 2**attempt)
    return await read()


def close_all(sinks: Sequence[Sink]) -> None:
    """Give back what the sinks hold."""
    for sink in sinks:
        sink.close()
