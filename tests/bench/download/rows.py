"""The rows: which sides meet in which round, and what the figures are."""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from tests.bench.download import baseline
from tests.bench.download.instances import ours
from tests.bench.download.payload import MIB, repository
from tests.bench.download.processes import ROOT, Spent, server
from tests.bench.download.sides import Bench, Store, check, expected_of, fast_sink, mine, theirs, weed
from tests.bench.report import Row

GIB: Final = 1 << 30
# What a log and the server's heartbeat file may take: far below the smallest part of a model.
LOG_BYTES: Final = 1 << 16
# What content hosts give one connection (AWS's own rule for sizing its transfer clients).
CAP: Final = "50"
# So low that the two cores are not what limits four instances: what scales is then the transfer, not the machine.
FAN_CAP: Final = "4"
SHARDS: Final = 5
# Sizes of parts (MiB) and numbers of threads that are tried to find what the server takes at most.
SETTINGS: Final = (("8", "2"), ("8", "4"), ("16", "2"), ("16", "4"), ("32", "3"))


async def capped(bench: Bench) -> list[Row]:
    """One large file from a source that is slow on each connection, into SeaweedFS and into the fast sink."""
    found: dict[str, list[tuple[Spent, Spent]]] = {}
    with repository(bench.size, 1) as payload, server("source", str(payload), CAP) as hub:
        expected = expected_of(payload)
        async with weed(bench.folder) as slow, fast_sink() as fast:
            stores: list[Store] = [slow, fast]
            async with (
                ours(bench.folder / "slow", hub, slow.s3) as to_slow,
                ours(bench.folder / "fast", hub, fast.s3) as to_fast,
            ):
                for turn in range(bench.rounds + 1):
                    baseline.forget(bench.folder / "hf")
                    fetched = await asyncio.to_thread(baseline.fetch, hub, bench.folder / "hf")
                    for store, side in zip(stores, (to_slow, to_fast), strict=True):
                        other = await theirs(bench, store, fetched, expected)
                        own = await mine(side, store, expected)
                        bench.say(f"round {turn}, {store.name}: {own.wall_s:.2f} s against {other.wall_s:.2f} s")
                        # The first round warms everything up.
                        if turn:
                            found.setdefault(store.name, []).append((own, other))
    what = f"one file of {bench.megabytes} MB, source capped at {CAP} MB/s a connection, into"
    aims = {"SeaweedFS": 3.0, "a fast sink": 6.0}
    return [_ratio(f"{what} {name}", pairs, aims[name]) for name, pairs in found.items()]


async def sharded(bench: Bench) -> list[Row]:
    """A repository of several files, uncapped, into SeaweedFS, and what SeaweedFS takes at most."""
    pairs, ceilings = [], []
    with repository(bench.size, SHARDS) as payload, server("source", str(payload), "0") as hub:
        expected = expected_of(payload)
        async with weed(bench.folder) as store, ours(bench.folder / "ours", hub, store.s3) as side:
            best = await _best_setting(bench, store)
            for turn in range(bench.rounds + 1):
                baseline.forget(bench.folder / "hf")
                fetched = await asyncio.to_thread(baseline.fetch, hub, bench.folder / "hf")
                other = await theirs(bench, store, fetched, expected)
                own = await mine(side, store, expected)
                top = await _ceiling(store, bench.megabytes, best)
                bench.say(f"round {turn}: {own.wall_s:.2f} s against {other.wall_s:.2f} s, ceiling {top:.2f} s")
                if turn:
                    pairs.append((own, other))
                    ceilings.append(top)
    return [*_sharded_rows(bench, pairs), _ceiling_row(bench, pairs, ceilings, best)]


async def fan(bench: Bench) -> list[Row]:
    """One file, capped, by one instance and by four."""
    found: dict[int, list[float]] = {1: [], 4: []}
    with repository(bench.size, 1) as payload, server("source", str(payload), FAN_CAP) as hub:
        expected = expected_of(payload)
        async with (
            fast_sink() as store,
            ours(bench.folder / "1", hub, store.s3, 1) as one_instance,
            ours(bench.folder / "4", hub, store.s3, 4) as four_instances,
        ):
            for turn in range(max(3, bench.rounds // 2) + 1):
                for count, side in ((1, one_instance), (4, four_instances)):
                    own = await mine(side, store, expected)
                    bench.say(f"{count} instances, round {turn}: {own.wall_s:.2f} s")
                    if turn:
                        found[count].append(own.wall_s)
    one, four = (statistics.median(walls) for walls in found.values())
    what = f"one file of {bench.megabytes} MB, source capped at {FAN_CAP} MB/s a connection, fast sink: 4 instances against 1"
    return [Row(what, f"{four:.2f} s", f"{one:.2f} s", f"{one / four:.2f}x", ">= 3x", one / four >= 3)]


async def again(bench: Bench) -> list[Row]:
    """The same model once more, under another name, with its content stored already."""
    firsts, seconds = [], []
    with repository(bench.size, SHARDS) as payload, server("source", str(payload), "0") as hub:
        expected = expected_of(payload)
        async with weed(bench.folder) as store, ours(bench.folder / "ours", hub, store.s3) as side:
            for turn in range(bench.rounds + 1):
                first, _ = await side.pull("first")
                second, _ = await side.pull("second")
                check(await store.digests("blobs/"), expected)
                bench.say(f"round {turn}: {first.wall_s:.2f} s, then {second.wall_s:.3f} s")
                await store.clear()
                await side.forget()
                if turn:
                    firsts.append(first.wall_s)
                    seconds.append(second.wall_s)
    first_s, second_s = statistics.median(firsts), statistics.median(seconds)
    ratio = first_s / second_s
    what = f"{bench.megabytes} MB that are stored already, pulled under another name, against the first pull"
    return [Row(what, f"{second_s * 1000:.0f} ms", f"{first_s:.2f} s", f"{ratio:.0f}x", ">= 50x", ratio >= 50)]


async def memory(bench: Bench) -> list[Row]:
    """One instance and a model that is larger than any memory it may have."""
    size = bench.sparse_megabytes * 1_000_000
    bench.say("making the sparse file, and its digest")
    with repository(size, 1, sparse=True) as payload, server("source", str(payload), "0") as hub:
        async with fast_sink("discard") as store, ours(bench.folder / "ours", hub, store.s3) as side:
            spent, _ = await side.pull("sparse")
            peak, written = side.peak / MIB, spent.written
    what = f"one instance and a file of {bench.sparse_megabytes} MB: largest resident size (master and worker), bytes to disk"
    ours_ = f"{peak:.0f} MB, {written} B, at {bench.sparse_megabytes / spent.wall_s:.0f} MB/s"
    return [Row(what, ours_, "-", f"{peak:.0f} MB", "<= 200 MB", peak <= 200 and written <= LOG_BYTES)]


PARTS: Mapping[str, Callable[[Bench], Coroutine[Any, Any, list[Row]]]] = {
    "capped": capped,
    "sharded": sharded,
    "fan": fan,
    "again": again,
    "memory": memory,
}


def _ratio(what: str, pairs: Sequence[tuple[Spent, Spent]], aim: float) -> Row:
    own, other = (statistics.median(pair[side].wall_s for pair in pairs) for side in (0, 1))
    ratio = other / own
    spread = f"{min(p[0].wall_s for p in pairs):.2f} to {max(p[0].wall_s for p in pairs):.2f}"
    return Row(what, f"{own:.2f} s ({spread})", f"{other:.2f} s", f"{ratio:.2f}x", f">= {aim:g}x", ratio >= aim)


def _sharded_rows(bench: Bench, pairs: Sequence[tuple[Spent, Spent]]) -> list[Row]:
    what = f"{SHARDS} files of {bench.megabytes} MB together, uncapped, into SeaweedFS"
    gib = bench.size / GIB
    own, other = (statistics.median(pair[side].cpu_s for pair in pairs) / gib for side in (0, 1))
    written = max(pair[0].written for pair in pairs)
    return [
        _ratio(what, pairs, 1.8),
        Row(
            "the same: seconds of processor on the client's side per GiB (ours with PostgreSQL)",
            f"{own:.2f} s",
            f"{other:.2f} s",
            f"{own / other:.2f}",
            "<= 0.5",
            own / other <= 0.5,
        ),
        Row(
            "the same: bytes to disk on the client's side (its log)",
            f"{written} B",
            f"{bench.size} B, the model",
            f"{written} B",
            "nothing of the model",
            written <= LOG_BYTES,
        ),
    ]


def _ceiling_row(
    bench: Bench, pairs: Sequence[tuple[Spent, Spent]], ceilings: Sequence[float], best: tuple[str, str]
) -> Row:
    own, top = statistics.median(own.wall_s for own, _ in pairs), statistics.median(ceilings)
    what = f"the same: rate into SeaweedFS, against an upload out of memory ({best[0]} MiB parts, {best[1]} threads)"
    rates = [f"{bench.megabytes / seconds:.0f} MB/s" for seconds in (own, top)]
    return Row(what, rates[0], rates[1], f"{top / own:.2f}", ">= 0.9", top / own >= 0.9)


async def _best_setting(bench: Bench, store: Store) -> tuple[str, str]:
    found = {setting: await _ceiling(store, max(100, bench.megabytes // 4), setting) for setting in SETTINGS}
    best = min(found, key=lambda setting: found[setting])
    bench.say("ceiling: " + ", ".join(f"{part} MiB x {threads}: {s:.2f} s" for (part, threads), s in found.items()))
    return best


async def _ceiling(store: Store, megabytes: int, setting: tuple[str, str]) -> float:
    s3 = store.s3
    place = [s3["endpoint"], s3["access_key"], s3["secret_key"], s3["bucket"], str(megabytes), *setting]
    command = [sys.executable, "-m", "tests.bench.download.ceiling", *place]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)
