"""What the dispatcher needs of the ledger. `ledger.Ledger` is the one that ships; a simulation brings its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from kn_model.local.eventing.ledger import Accepted, Claimed


class Owed(Protocol):
    """Events and the triggers that are to have them. Every method raises LedgerDown when it cannot do it now."""

    async def accept(self, accepted: Accepted) -> Sequence[Claimed]:
        """Keep one event for good. Answers what is in hand from now on, of what was asked for."""
        ...

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """Take up to `limit` due rows of one trigger."""
        ...

    async def finish(self, claimed: Claimed) -> None:
        """This delivery is over."""
        ...

    async def postpone(self, claimed: Claimed, failures: int, error: Mapping[str, str] | None, wait_s: float) -> None:
        """Try again in `wait_s` seconds; with an error: at the dead letter sink."""
        ...

    async def renew(self, held: Iterable[Claimed]) -> None:
        """Keep what is in hand; anything else comes due when its lease ends."""
        ...

    async def waits(self) -> Mapping[str, float]:
        """Seconds until the next row of each trigger that is owed something."""
        ...

    async def forget(self, trigger: str) -> None:
        """A trigger is gone, and what it was owed."""
        ...
