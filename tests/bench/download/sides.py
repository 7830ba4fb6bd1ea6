"""The places that both sides write to, and one round of each side: timed, checked, and cleared away."""

import asyncio
import hashlib
import json
import secrets
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from kn_model.local.data import seaweed
from kn_model.local.data.s3 import Credentials
from kn_model.local.data.seaweed import Seaweed
from tests.bench.download import baseline
from tests.bench.download.instances import Side
from tests.bench.download.processes import Spent, server

MIB: Final = 1 << 20
# Both sides write to it: with the laptop's 192 MiB, its collector takes as much of the processors as its work.
FAST_SEAWEED: Final = {"GOMEMLIMIT": "1GiB", "GOGC": "100"}


@dataclass(frozen=True, slots=True)
class Bench:
    """One part's folder and sizes; `say` is its progress."""

    folder: Path
    rounds: int
    megabytes: int
    sparse_megabytes: int

    @property
    def size(self) -> int:
        """Bytes of the model."""
        return self.megabytes * 1_000_000

    def say(self, text: str) -> None:
        """A line of progress, on standard error."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {self.folder.name}: {text}\n")
        sys.stderr.flush()


class Store(Protocol):
    """An S3 with a bucket that is empty between rounds."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def s3(self) -> dict[str, str]:
        """How to reach it."""

    async def digests(self, prefix: str) -> set[str]:
        """SHA-256 of every object of weights under a prefix."""

    async def clear(self) -> None:
        """Empty the bucket."""


@dataclass(frozen=True, slots=True)
class SeaweedStore:
    """The real SeaweedFS."""

    s3: dict[str, str]
    name: str = "SeaweedFS"

    async def digests(self, prefix: str) -> set[str]:
        """See Store."""
        objects, found = _objects(self.s3), set()
        for entry in await objects.keys(prefix):
            digest = hashlib.sha256()
            for start in range(0, entry.size, 16 * MIB):
                digest.update(await objects.get(entry.key, start, min(entry.size, start + 16 * MIB)) or b"")
            found.add(digest.hexdigest())
        return found

    async def clear(self) -> None:
        """See Store."""
        objects = _objects(self.s3)
        await objects.delete([entry.key for entry in await objects.keys("")])


@dataclass(frozen=True, slots=True)
class SinkStore:
    """The fast sink of this benchmark."""

    s3: dict[str, str]
    name: str = "a fast sink"

    async def digests(self, prefix: str) -> set[str]:
        """See Store."""
        return set(await asyncio.to_thread(self._ask, f".digests/{prefix}"))

    async def clear(self) -> None:
        """See Store."""
        await asyncio.to_thread(self._ask, ".clear")

    def _ask(self, path: str) -> list[str]:
        with urllib.request.urlopen(f"{self.s3['endpoint']}/{path}") as answer:  # noqa: S310  # our own loopback address
            found: list[str] = json.load(answer)
            return found


@asynccontextmanager
async def weed(folder: Path) -> AsyncIterator[SeaweedStore]:
    """A SeaweedFS of its own, with the best settings found for it."""
    before = dict(seaweed.GO_MEMORY)
    seaweed.GO_MEMORY.update(FAST_SEAWEED)
    running = Seaweed(folder / "s3", folder / "s3.log")
    try:
        await running.start()
        yield SeaweedStore(asdict(running.credentials))
    finally:
        seaweed.GO_MEMORY.update(before)
        await running.stop()


@asynccontextmanager
async def fast_sink(*options: str) -> AsyncIterator[SinkStore]:
    """A sink of its own."""
    access, secret = secrets.token_hex(8), secrets.token_hex(16)
    with ExitStack() as stack:
        url = stack.enter_context(server("sink", access, secret, *options))
        yield SinkStore(asdict(Credentials(url, seaweed.REGION, access, secret, seaweed.BUCKET)))


async def theirs(bench: Bench, store: Store, fetched: Spent, expected: set[str]) -> Spent:
    """`aws s3 cp` of what `hf download` fetched; both together, checked and cleared."""
    stored = await asyncio.to_thread(baseline.store, bench.folder / "hf", store.s3)
    check(await store.digests("baseline/"), expected)
    await store.clear()
    return Spent(fetched.wall_s + stored.wall_s, fetched.cpu_s + stored.cpu_s, fetched.written + stored.written)


async def mine(side: Side, store: Store, expected: set[str], name: str = "bench") -> Spent:
    """A pull, checked and cleared."""
    spent, _ = await side.pull(name)
    check(await store.digests("blobs/"), expected)
    await store.clear()
    await side.forget()
    return spent


def check(found: set[str], expected: set[str]) -> None:
    """A figure about wrong bytes is none."""
    if found != expected:
        raise RuntimeError(f"the bucket holds {sorted(found)}, and {sorted(expected)} belongs there")


def expected_of(folder: Path) -> set[str]:
    """The digests of a payload."""
    return set(json.loads((folder / "digests.json").read_text()).values())


def _objects(s3: dict[str, str]) -> S3Objects:
    access, secret = Secret(s3["access_key"]), Secret(s3["secret_key"])
    return S3Objects(s3["endpoint"], s3["region"], access, secret, s3["bucket"])
