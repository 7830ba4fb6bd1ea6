"""How long to wait, how fast it goes, and how memory is shared."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from functions.download.backoff import CAP_S, asked, delay
from functions.download.buffers import Buffers
from functions.download.progress import Meter
from functions.download.settings import Settings
from functions.kit.settings import Secret, SettingsError
from tests.deliveries import FUNCTION_KEYS

SETTINGS = Settings(
    database_url=Secret("postgresql://nowhere"),
    event_keys=FUNCTION_KEYS,
    s3_endpoint="http://nowhere",
    s3_bucket="models",
    s3_access_key=Secret("a"),
    s3_secret_key=Secret("b"),
)


@pytest.mark.parametrize(
    ("failures", "jitter", "expected"), [(1, 0.0, 0.125), (1, 1.0, 0.25), (2, 1.0, 0.5), (50, 1.0, CAP_S)]
)
def test_waiting_doubles_up_to_its_cap(failures: int, jitter: float, expected: float) -> None:
    """Jitter takes up to half of it away."""
    assert expected == delay(failures, jitter)


def test_a_source_that_asks_for_patience_gets_it() -> None:
    """Retry-After is a lower bound."""
    assert delay(1, 0.0, asked_s=30.0) == 30.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120.0),
        ("99999999", 3600.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", 3600.0),
        ("", 0.0),
        ("-1", 0.0),
        ("soon", 0.0),
        ("²", 0.0),
    ],
)
def test_patience_is_asked_for_in_seconds_or_as_a_date(text: str, expected: float) -> None:
    """Never in the past, never for more than an hour; what cannot be read asks for nothing."""
    assert asked(text, datetime(2026, 11, 21, 12, tzinfo=UTC)) == expected


def test_the_rate_follows_and_never_is_negative() -> None:
    """A steady stream shows its speed; a restart shows none."""
    meter = Meter(0, 0.0)
    assert [meter.rate(100, 1.0), meter.rate(200, 2.0)] == [100.0, 100.0]
    assert meter.rate(0, 3.0) == pytest.approx(70.0)


async def test_memory_is_shared_in_the_order_of_asking() -> None:
    """A small request does not overtake a large one that waits: nobody starves."""
    buffers, served = Buffers(10), []

    async def take(name: str, size: int, until: asyncio.Event) -> None:
        async with buffers.holding(size):
            served.append(name)
            await until.wait()

    ends = {name: asyncio.Event() for name in "abc"}
    tasks = [asyncio.create_task(take(name, size, ends[name])) for name, size in (("a", 8), ("b", 8), ("c", 2))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served == ["a"]
    for end in ends.values():
        end.set()
    await asyncio.gather(*tasks)
    assert served == ["a", "b", "c"]


async def test_a_cancelled_wait_frees_its_place() -> None:
    """What a cancelled part asked for goes to the next, and nothing is lost."""
    buffers = Buffers(10)
    async with buffers.holding(10):
        waiting = asyncio.create_task(buffers.holding(10).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), buffers.holding(10):
        pass


async def test_a_part_larger_than_the_budget_gets_all_of_it() -> None:
    """A huge file's parts pass one at a time instead of never."""
    async with asyncio.timeout(1), Buffers(10).holding(25):
        pass


def test_memory_that_holds_no_stretch_is_refused_at_start() -> None:
    """Parts that are larger than what they share would wait for it for ever."""
    with pytest.raises(SettingsError, match="TORPOR_BUFFER_BYTES: 9000000 does not hold 2 parts"):
        replace(SETTINGS, buffer_bytes=9_000_000, part_bytes=5_242_880)
