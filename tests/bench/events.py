"""Events through the laptop's broker: how long one takes at a steady rate, and how many get through.

A runtime of its own, with no model: outbox, Broker, front door and a functions-framework sink are the real ones.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from functions.kit import events
from functions.kit.bus import Bus
from functions.kit.db import POOL_SIZE
from functions.kit.publisher import HttpPublisher
from kn_model import laptop
from kn_model.demo.runtime import RunningRuntime, runtime
from kn_model.laptop import Cluster
from kn_model.local import ports
from kn_model.local.eventing.worker import AT_ONCE
from tests.bench import outbox
from tests.bench.folder import kept_on_failure
from tests.bench.report import Row

COUNT: Final = 2000
ROUNDS: Final = 3
AIM: Final = 5.0
# What one transaction of a plan of a model with many files emits, and how many such calls run at once.
PER_TRANSACTION: Final = 100
LANES: Final = 4
_LOOK_S: Final = 0.01
# What takes longer has stopped.
WITHIN_S: Final = 180.0


def rows() -> list[Row]:
    """Latency, then throughput."""
    with kept_on_failure() as folder, runtime(folder / "runtime", {}, print) as running:
        cluster = laptop.cluster(running.kubeconfig)
        return [asyncio.run(outbox.row(cluster, running)), asyncio.run(throughput(cluster, running))]


async def throughput(cluster: Cluster, running: RunningRuntime) -> Row:
    """Both sides in turn, ROUNDS times; the figure is the ratio of the medians."""
    url = await outbox.database_url(cluster)
    async with (
        outbox.deployed(cluster, running) as notes,
        asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE) as pool,
    ):
        door = f"{running.url}/_svc/torpor/{outbox.NAME}"
        async with _plain_broker(url, door) as plain, outbox.bus(cluster, running) as bus:
            sides: dict[str, Callable[[str], Awaitable[None]]] = {
                "ours": lambda name: _batched(bus, name),
                "plain": lambda name: _one_by_one(pool, plain, name),
            }
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(ROUNDS + 1):
                for name, send in sides.items():
                    rate = await _rate(pool, notes, f"{name}-{number}", send)
                    if number:  # the first round warms both up
                        rates[name].append(rate)
    ours, plain_rate = statistics.median(rates["ours"]), statistics.median(rates["plain"])
    seen = {name: ", ".join(f"{rate:.0f}" for rate in found) for name, found in rates.items()}
    return Row(
        f"outbox -> broker -> handler -> acknowledged, {COUNT} events, against one row per transaction everywhere",
        f"{ours:.0f} events/s ({seen['ours']})",
        f"{plain_rate:.0f} events/s ({seen['plain']})",
        f"{ours / plain_rate:.2f}x",
        f">= {AIM:.0f}x",
        ours / plain_rate >= AIM,
    )


async def _rate(pool: Any, notes: Path, name: str, send: Callable[[str], Awaitable[None]]) -> float:
    """Events a second, from the first transaction until nobody owes anything and every event has been seen."""
    begin = time.monotonic()
    async with asyncio.timeout(WITHIN_S):
        await send(name)
        while await pool.fetchval(LEFT):  # noqa: ASYNC110 - SQL wakes nobody
            await asyncio.sleep(_LOOK_S)
    rate = COUNT / (time.monotonic() - begin)
    text = await asyncio.to_thread(notes.read_text, encoding="utf-8")
    seen = {line.split(" ")[0] for line in text.splitlines() if line.startswith(f"{name}-")}
    if len(seen) != COUNT:
        raise RuntimeError(f"{len(seen)} of {COUNT} events of {name} arrived")
    return rate


LEFT: Final = """
SELECT EXISTS (SELECT FROM outbox WHERE source = '/torpor/bench') OR EXISTS (SELECT FROM plain.outbox)
    OR EXISTS (SELECT FROM broker.owed WHERE trigger = 'torpor/bench-sink') OR EXISTS (SELECT FROM plain.owed)
"""


async def _batched(bus: Bus, name: str) -> None:
    """As the functions do: a transaction emits many events, the bus publishes them and takes them off the outbox."""
    numbers = iter(range(0, COUNT, PER_TRANSACTION))

    async def lane() -> None:
        for start in numbers:
            async with bus.transaction() as unit:
                for number in range(start, start + PER_TRANSACTION):
                    unit.emit(outbox.Happened(f"{name}-{number}"))

    await asyncio.gather(*(lane() for _ in range(LANES)))


async def _one_by_one(pool: Any, plain: HttpPublisher, name: str) -> None:
    """Write, publish, remove: each event its own transactions."""
    numbers = iter(range(COUNT))

    async def lane() -> None:
        for number in numbers:
            id_ = f"{name}-{number}"
            headers = events.headers(id_, outbox.SOURCE, outbox.Happened.TYPE, id_, {})
            await pool.execute("INSERT INTO plain.outbox (id, headers, data) VALUES ($1, '{}', $2)", id_, b"{}")
            await plain(headers, b"{}")
            await pool.execute("DELETE FROM plain.outbox WHERE id = $1", id_)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


@asynccontextmanager
async def _plain_broker(database: str, subscriber: str) -> AsyncIterator[HttpPublisher]:
    (port,) = ports.free(1)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.plain_broker",
        database,
        str(port),
        subscriber,
        stdout=asyncio.subprocess.PIPE,
    )
    publisher = HttpPublisher(f"http://127.0.0.1:{port}/")
    try:
        assert child.stdout is not None
        await child.stdout.readline()
        yield publisher
    finally:
        await publisher.close()
        child.terminate()
        await child.wait()
