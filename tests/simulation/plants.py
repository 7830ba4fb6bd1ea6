"""Bugs that are planted to see whether the simulation finds them: each breaks one rule that the product keeps."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from functions.kit import bus
from functions.kit.bus import SQL, Bus, Duplicate, Unit
from functions.kit.events import CloudEvent
from kn_model.local.eventing.ledger import Claimed, Ledger
from tests.simulation import domain_statements
from tests.simulation.domain import Download, Serve
from tests.simulation.store import Row, Transaction
from tests.simulation.world import Parts


class MarkOutside(Bus):
    """The inbox mark is a transaction of its own: a kill between the two loses the effect."""

    @contextlib.asynccontextmanager
    async def transaction(self, cause: CloudEvent | None = None, *, actor: str = "") -> AsyncIterator[Unit]:
        """Mark first, then work."""
        if cause is not None:
            marked = await self._db.fetchval(SQL.mark_processed, self._source, cause.source, cause.id)
            if marked is None:
                raise Duplicate(cause.id)
        async with super().transaction(actor=actor) as unit:
            yield unit


class NoMark(Bus):
    """No inbox: what arrives twice happens twice."""

    async def _mark(self, connection: Any, cause: CloudEvent | None) -> None:
        """Forget it."""


class PublishBeforeCommit(Bus):
    """Events leave before what they tell of is committed."""

    async def _store(self, connection: Any, rows: Sequence[Any]) -> None:
        """Send, then store."""
        await self._publish(rows)
        await super()._store(connection, rows)


class NoOutbox(Bus):
    """Events are sent after the commit and kept nowhere."""

    async def _store(self, connection: Any, rows: Sequence[Any]) -> None:
        """Keep nothing."""


class LastSeen(Bus):
    """Claims go by a growing number instead of by row state: what commits late, or was refused, is passed over."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._last = 0

    async def resend(self) -> int:
        """Send what is newer than the last."""
        rows = await self._db.fetch("claim_after", self._source, self._last)
        self._last = max([self._last, *(row["number"] for row in rows)])
        return await self._publish([bus._outgoing(row) for row in rows])


async def claim_after(t: Transaction, source: str, last: int) -> list[Row]:
    """The rows of a source past a number."""
    return [
        {**row, "redriven": False} for _, row in t.scan("outbox") if row["source"] == source and row["number"] > last
    ]


class FinishFirst(Ledger):
    """A delivery is over as soon as it is claimed."""

    async def claim(self, trigger: str, limit: int) -> Sequence[Claimed]:
        """Take them out."""
        claimed = await super().claim(trigger, limit)
        for each in claimed:
            await super().finish(each)
        return claimed

    async def accept(self, accepted: Any) -> Sequence[Claimed]:
        """Likewise for what goes straight to a worker."""
        claimed = await super().accept(accepted)
        for each in claimed:
            await super().finish(each)
        return claimed


class NoDeadLetters(Ledger):
    """What fails for good is dropped."""

    async def postpone(self, claimed: Claimed, failures: int, error: Mapping[str, str] | None, wait_s: float) -> None:
        """Drop what would go to the dead letter sink."""
        if error is not None:
            await self.finish(claimed)
        else:
            await super().postpone(claimed, failures, error, wait_s)


async def claim_without_lease(t: Transaction, uuid: str, path: str, lease_s: float) -> list[Row]:
    """A file goes to whoever asks."""
    row = await t.lock("files", (uuid, path))
    if row is None or row["status"] == "verified":
        return []
    row = {**row, "status": "transferring", "lease": 1.0, "updated_at": t.now + 0 * lease_s}
    t.put("files", (uuid, path), row)
    return [row]


async def change_without_lease(  # noqa: PLR0913, PLR0917 - the statement's arguments
    t: Transaction, uuid: str, path: str, lease: float, status: str, done: int, lease_s: float | None
) -> list[Row]:
    """And anybody may change it."""
    held = await t.lock("files", (uuid, path))
    return await domain_statements.change_file(t, uuid, path, held["lease"] if held else lease, status, done, lease_s)


class NoRedriveOfFiles(Download):
    """A tick that only sends what the outbox holds."""

    async def tick(self, _: CloudEvent) -> None:
        """Trust the broker."""
        await self._bus.resend()


class NoRedriveOfModels(Serve):
    """A tick that knows servers that wait, and not models whose event never came."""

    async def tick(self, _: CloudEvent) -> None:
        """Redrive what has a record of its own."""
        await self._bus.resend()


PLANTS: Final[Mapping[str, Parts]] = {
    "mark-outside": Parts(bus=MarkOutside),
    "no-mark": Parts(bus=NoMark),
    "publish-before-commit": Parts(bus=PublishBeforeCommit),
    "no-outbox": Parts(bus=NoOutbox),
    "last-seen": Parts(bus=LastSeen, statements={"claim_after": claim_after}),
    "finish-first": Parts(ledger=FinishFirst),
    "no-dead-letters": Parts(ledger=NoDeadLetters),
    "no-lease": Parts(statements={"claim_file": claim_without_lease, "change_file": change_without_lease}),
    "no-redrive": Parts(download=NoRedriveOfFiles),
    "no-redrive-of-served": Parts(serve=NoRedriveOfModels),
}
