"""What the cluster should be for one server: its record, and the rollout beside it, taken together. Pure but for `read`.

Called by the handler of `server.requested`, which makes it so, and again afterwards to see whether it changed meanwhile.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from functions.serve import observe, records
from functions.serve.records import SQL, Record
from functions.serve.requests import ServeOptions
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout.rows import Rollout
from functions.serve.rollout.states import RolloutState
from functions.serve.rollout.traffic import Split
from functions.serve.service import Server, Trial
from functions.serve.states import State


class Rows(Protocol):
    """A database or one of its connections."""

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """rollout: the newest of the server, ended or not. promoted: the one that the cluster's template names was."""

    record: Record
    rollout: Rollout | None
    promoted: bool = False

    @property
    def trial(self) -> Rollout | None:
        """The rollout while it is under way."""
        return self.rollout if self.rollout and self.rollout.under_way else None

    @property
    def model_uuid(self) -> str:
        """The model of the template."""
        return self.trial.model_uuid if self.trial else self.record.model_uuid

    @property
    def options(self) -> ServeOptions:
        """How the template serves it."""
        return self.trial.request if self.trial else self.record.options

    @property
    def server(self) -> Server:
        """What the Service and its template are labelled by."""
        if self.trial is None:
            return self.record.server
        return Server(self.record.uuid, self.record.name, self.trial.model_uuid, self.trial.model_name)

    @property
    def split(self) -> Split:
        """Who gets the traffic."""
        if self.trial is not None:
            return self.trial.split
        return Split(self.record.pinned, 0) if self.record.pinned and not self.restored else Split()

    @property
    def restored(self) -> bool:
        """What served before is the latest revision again, and ready: nothing has to be pinned."""
        seen = self.record.observed.service
        return self.trial is None and seen is not None and observe.restored(seen, promoted=self.promoted)

    @property
    def template(self) -> Trial:
        """Where there is room for one only, what is tried and what is brought back begin without a replica."""
        one_only = self.rollout is not None and self.rollout.replaces
        going_back = self.trial is None and bool(self.record.pinned)
        seen = self.record.observed.service
        return Trial(
            rollout=self.trial.uuid if self.trial else "",
            at_zero=one_only and (self.trial is not None or going_back),
            over=going_back and seen is not None and bool(seen.trial) and not self.promoted,
        )

    @property
    def is_deleted(self) -> bool:
        """The server is to go."""
        return self.record.state is State.DELETED

    def gave_up(self, other: "Wish") -> bool:
        """Whether what the other one has on trial was taken back since."""
        tried, now = other.trial, self.rollout
        return tried is not None and self.trial is None and now is not None and now.state is not RolloutState.PROMOTED

    def differs(self, other: "Wish") -> bool:
        """Whether the cluster would have to look otherwise."""
        return _essence(self) != _essence(other)


def _essence(wish: Wish) -> object:
    return wish.model_uuid, wish.options, wish.split, wish.template, wish.is_deleted


async def read(rows: Rows, server_uuid: str) -> Wish | None:
    """The wish for a server; None when there is no such record."""
    row = await rows.fetchrow(SQL.read_server, server_uuid)
    return await _with_rollout(rows, row) if row else None


async def lock(connection: Any, server_uuid: str) -> Wish:
    """The wish for a server that exists, its record locked until the transaction ends."""
    return await _with_rollout(connection, await connection.fetchrow(SQL.lock_server, server_uuid))


async def _with_rollout(rows: Rows, row: Any) -> Wish:
    record = records.record_of(row)
    return Wish(record, await rollouts.last(rows, record.uuid), await _names_promoted(rows, record))


async def _names_promoted(rows: Rows, record: Record) -> bool:
    """Whether the template that was seen names a rollout that was promoted; asked only where something is pinned."""
    seen = record.observed.service
    if not record.pinned or seen is None or not seen.trial:
        return False
    named = await rows.fetchrow(SQL.read_rollout, seen.trial)
    return named is not None and named["status"] == RolloutState.PROMOTED
