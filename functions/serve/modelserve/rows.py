"""Rows of `modelserves`: what was done about each ModelServe resource. Called by `modelserve`, inside its transactions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.kit.bus import Unit
from functions.kit.identity import Identity
from functions.serve import records
from functions.serve.modelserve.spec import Wanted
from functions.serve.modelserve.status import Facts
from functions.serve.planning import Model
from functions.serve.records import SQL, Record
from functions.serve.rollout import rows as rollouts
from functions.serve.states import State


@dataclass(frozen=True, slots=True)
class Done:
    """What was done for the resource of a name: last looked at as `uid` and `generation`, last asked for at `asked`."""

    uid: str = ""
    generation: int = 0
    token_digest: str = ""
    actor: str = ""
    models: tuple[str, ...] = ()
    asked: int = 0
    model_uuid: str | None = None
    server_uuid: str | None = None

    def verified(self, wanted: Wanted) -> bool:
        """Whether this spec's token was found good before."""
        same = (self.uid, self.generation) == (wanted.uid, wanted.generation)
        return same and self.token_digest == wanted.token_digest

    def is_later(self, wanted: Wanted) -> bool:
        """Whether a newer spec of the same resource was looked at already."""
        return self.uid == wanted.uid and self.generation > wanted.generation

    def has_asked(self, wanted: Wanted, model: Model) -> bool:
        """Whether this spec, with the model that it means by now, was asked for."""
        return (self.uid, self.asked, self.model_uuid) == (wanted.uid, wanted.generation, model.uuid)


async def lock(unit: Unit, namespace: str, name: str) -> Done | None:
    """What was done, locked; the name is locked as the desk locks it."""
    await unit.connection.execute(SQL.lock_name, namespace, name)
    row: Mapping[str, Any] | None = await unit.connection.fetchrow(SQL.lock_modelserve, namespace, name)
    if row is None:
        return None
    named = {field: row[field] for field in Done.__dataclass_fields__}
    return Done(**{**named, "models": tuple(row["models"])})


async def put(unit: Unit, place: tuple[str, str], done: Done, *, waiting: bool) -> None:
    """Keep what was done. place: namespace and name."""
    await unit.connection.execute(
        SQL.put_modelserve,
        *place,
        done.uid,
        done.generation,
        done.token_digest,
        done.actor,
        list(done.models),
        done.asked,
        done.model_uuid,
        done.server_uuid,
        waiting,
    )


async def server(unit: Unit, done: Done | None) -> Record | None:
    """The server that the resource made, locked, while it lives."""
    if done is None or done.server_uuid is None:
        return None
    row = await unit.connection.fetchrow(SQL.lock_server, done.server_uuid)
    record = records.record_of(row) if row is not None else None
    return record if record is not None and record.state is not State.DELETED else None


async def model(unit: Unit, wanted: Wanted) -> Model | None:
    """The model that the resource means by now."""
    row = await unit.connection.fetchrow(SQL.find_declared_model, *wanted.key)
    return records.model_of(row) if row is not None else None


async def facts(unit: Unit, found: Model | None, record: Record | None) -> Facts:
    """All that the status is made of."""
    last = await rollouts.last(unit.connection, record.uuid) if record is not None else None
    return Facts(found, None, record, last)


def looked_at(wanted: Wanted, who: Identity, before: Done | None) -> Done:
    """What is known after a look that asks for nothing."""
    known = before or Done()
    mine = known.uid == wanted.uid
    return Done(
        uid=wanted.uid,
        generation=wanted.generation,
        token_digest=wanted.token_digest,
        actor=who.subject,
        models=who.models,
        asked=known.asked if mine else 0,
        model_uuid=known.model_uuid if mine else None,
        # Of an earlier resource of the same name too: its server is taken over.
        server_uuid=known.server_uuid,
    )
