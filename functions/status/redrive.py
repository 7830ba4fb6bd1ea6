"""Redriving: dead letters go out once more as they came, with their source, id, attributes, signature and bytes.

The event and the letter's mark are one transaction. Subscribers that had the event know it by its (source, id) and do
nothing; the one that failed tries again, and if it fails again the letter comes back. Called by the routes.
"""

from typing import Final

import msgspec

from functions.kit.bus import Bus
from functions.kit.identity import Identity
from functions.status import deadletters
from functions.status.deadletters import SQL, DeadLetterView
from functions.status.deps import Rows
from functions.status.letter_filter import Filter

# One call's work: a second of SQL at most, and some five batches for the Broker.
MAX_PER_CALL: Final = 1000
# A letter that was redriven and has not come back is under way: longer than any Trigger retries. After that it may have
# been lost on a broker that loses events, so it can be sent again.
UNDER_WAY_S: Final = 3600.0


class Redriven(msgspec.Struct, frozen=True):
    """redriven: how many letters are on their way now. more: whether there may be further ones that match."""

    redriven: int
    more: bool


async def one(db: Rows, bus: Bus, number: int, who: Identity) -> DeadLetterView:
    """Send one letter again and answer it; one that is under way is left alone. Raises DeadLetterNotFound."""
    await deadletters.find_dead_letter(db, number)
    await _send(bus, Filter(ids=[number]), who)
    return await deadletters.find_dead_letter(db, number)


async def matching(bus: Bus, wanted: Filter, who: Identity) -> Redriven:
    """Send the letters that match again, the oldest first; unless asked for, those that wait alone."""
    waiting = wanted if wanted.redriven is not None else msgspec.structs.replace(wanted, redriven=False)
    count = await _send(bus, waiting, who)
    return Redriven(count, count == MAX_PER_CALL)


async def _send(bus: Bus, wanted: Filter, who: Identity) -> int:
    async with bus.transaction(actor=who.subject) as unit:
        marked = await unit.connection.fetch(
            SQL.redrive, *wanted.arguments, UNDER_WAY_S, MAX_PER_CALL, unit.source, who.subject
        )
    if marked:
        # At once instead of at the next tick; what the Broker does not take now waits for that.
        await bus.resend()
    return len(marked)
