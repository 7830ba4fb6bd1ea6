"""A tick is everybody's: one round's bad luck keeps nobody else's from being made, and none of it is lost."""

import logging

import pytest

from functions.kit.events import TICK, CloudEvent
from functions.kit.problem import Retry
from functions.serve import app

EVENT = CloudEvent("1", "/ping", TICK, "", {}, b"{}")


async def test_every_round_is_made_and_every_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is the answer, the others are in the log."""
    made = []

    async def fine(event: CloudEvent) -> None:
        made.append(event.id)

    async def unlucky(_: CloudEvent) -> None:
        raise Retry(1, "the first")

    async def broken(_: CloudEvent) -> None:
        raise ValueError("the second")

    with caplog.at_level(logging.ERROR), pytest.raises(Retry, match="the first"):
        await app._each(unlucky, fine, broken)(EVENT)
    assert made == ["1"]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["the second"]


async def test_a_tick_on_which_all_went_well_is_answered() -> None:
    """No failure, no error."""
    made = []

    async def fine(event: CloudEvent) -> None:
        made.append(event.id)

    await app._each(fine, fine)(EVENT)
    assert made == ["1", "1"]
