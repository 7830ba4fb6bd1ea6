"""A ledger that keeps what it promised in memory, as Knative's in-memory channel does: killed, it has lost it.

It also gives some events twice. The dispatcher, the workers and the rules of delivery on it are the real ones.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from kn_model.local.eventing.ledger import Accepted, Claimed, Ledger

DOUBLED: Final = 0.05


@dataclass
class _Row:
    claimed: Claimed
    due_at: float
    in_hand: bool


class LossyLedger(Ledger):
    """The ledger's promises, as long as the process lives."""

    def __init__(self, random: Random, new_id: Callable[[], uuid.UUID]) -> None:
        super().__init__(None, new_id)
        self._random = random
        self._rows: dict[uuid.UUID, _Row] = {}

    async def open(self, *, alone: bool) -> None:
        """Nothing was kept."""

    async def accept(self, accepted: Accepted) -> Sequence[Claimed]:
        """Answered before anything is written anywhere."""
        taken = []
        for trigger in accepted.triggers:
            for copy in range(2 if self._random.random() < DOUBLED else 1):
                claimed = Claimed(self._new_id(), trigger, accepted.event, accepted.hops, accepted.headers)
                in_hand = trigger in accepted.in_hand and copy == 0
                self._rows[claimed.id] = _Row(claimed, _now(), in_hand)
                taken += [claimed] if in_hand else []
        return taken

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """What is due and nobody has."""
        now = _now()
        due = [
            row
            for row in self._rows.values()
            if row.claimed.trigger == trigger and row.due_at <= now and not row.in_hand
        ]
        for row in due[:limit]:
            row.in_hand = True
        return [row.claimed for row in due[:limit]]

    async def finish(self, claimed: Claimed) -> None:
        """Over."""
        self._rows.pop(claimed.id, None)

    async def postpone(self, claimed: Claimed, failures: int, error: Mapping[str, str] | None, wait_s: float) -> None:
        """Later."""
        changed = replace(claimed, failures=failures, error=error)
        self._rows[claimed.id] = _Row(changed, _now() + wait_s, in_hand=False)

    async def renew(self, held: Iterable[Claimed]) -> None:
        """No lease is needed."""

    async def waits(self) -> Mapping[str, float]:
        """Seconds to the next of each trigger."""
        soonest: dict[str, float] = {}
        for row in self._rows.values():
            if not row.in_hand:
                wait_s = max(0.0, row.due_at - _now())
                soonest[row.claimed.trigger] = min(wait_s, soonest.get(row.claimed.trigger, wait_s))
        return soonest

    async def forget(self, trigger: str) -> None:
        """Triggers do not change here."""


def _now() -> float:
    return asyncio.get_running_loop().time()
