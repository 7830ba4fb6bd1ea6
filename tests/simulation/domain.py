"""The three functions of the simulation: small, and built like the product's download, serve and status.

They use the real Bus, the real endpoint of events and the real database edge; what they do follows
`functions/download/{planning,slices,publish,upkeep}.py`, `functions/serve/{handlers,reconcile}.py` and
`functions/status/deadletters.py`: claim by lease, one transaction for state, mark and events, redrive by the tick.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.kit import events
from functions.kit.bus import Bus, Duplicate, Handler
from functions.kit.db import Database
from functions.kit.events import CloudEvent, Event, FileRequested, ModelAvailable, ModelRequested, ServerRequested
from functions.kit.problem import Conflict, Reject, Retry

# As functions/download/files.py, upkeep.py and functions/serve/reconcile.py have them.
LEASE_S: Final = 20.0
STALLED_S: Final = 60.0
# A slice is quick, or long, or hangs so that it loses its lease; some bring nothing.
SLICES_S: Final = (0.05, 0.5, 5.0)
HANG_RATE: Final = 0.01
HANG_S: Final = 30.0
UNWELL_RATE: Final = 0.02


class LeaseLost(Exception):
    """Another worker has the file"""


class FileLeased(Conflict):
    """Another worker has the file"""


@dataclass(frozen=True, slots=True)
class Counted(Event):
    """Something to be counted once, which nothing but the inbox sees to."""

    TYPE: ClassVar[str] = "dev.torpor.simulation.counted.v1"
    model_uuid: str


@dataclass(frozen=True, slots=True)
class Poison(Event):
    """A file.requested that no handler can read."""

    TYPE: ClassVar[str] = FileRequested.TYPE
    nonsense: str


class Command(msgspec.Struct, frozen=True):
    """What people ask: a model of files with these numbers of slices; or poison."""

    uuid: str
    slices: tuple[int, ...]
    serve: bool
    poison: bool = False


@dataclass
class Cluster:
    """The objects of a Kubernetes API: applying one twice is applying it once."""

    random: Random
    failing: float = 0.0

    def __post_init__(self) -> None:
        self.objects: set[str] = set()

    async def apply(self, name: str) -> None:
        """Make it so. Raises Retry when the API does not answer, perhaps after it did it."""
        await asyncio.sleep(self.random.random() * 0.05)
        if self.random.random() < self.failing:
            raise Retry(1, "the API does not answer")
        self.objects.add(name)
        if self.random.random() < self.failing:
            raise Retry(1, "the API does not answer")


class Download:
    """Plans, slices, publishes."""

    def __init__(self, db: Database, bus: Bus, random: Random) -> None:
        self._db = db
        self._bus = bus
        self._random = random

    def handlers(self) -> Mapping[str, Handler]:
        """By type of event."""
        return {ModelRequested.TYPE: self.plan, FileRequested.TYPE: self.transfer, events.TICK: self.tick}

    async def command(self, request: Request) -> Response:
        """POST /models: 202 once record and event are committed."""
        asked = msgspec.json.decode(await request.body(), type=Command)
        async with self._bus.transaction(actor="ann") as unit:
            if asked.poison:
                if await unit.connection.fetchval("add_poison", asked.uuid):
                    unit.emit(Poison(asked.uuid))
            elif await unit.connection.fetchval("add_model", asked.uuid, asked.slices, asked.serve):
                unit.emit(ModelRequested(asked.uuid))
        return Response(status_code=202)

    async def plan(self, event: CloudEvent) -> None:
        """`model.requested`."""
        uuid = event.decode(ModelRequested).model_uuid
        if await self._bus.seen(event):
            raise Duplicate(event.id)
        model = await self._db.fetchrow("model", uuid)
        if model is None:
            raise Reject(f"there is no model {uuid}")
        if model["status"] != "downloading":
            return
        if await self._db.fetch("list_files", uuid):
            await self._ask_again(event, uuid)
            return
        await asyncio.sleep(self._random.random())
        async with self._bus.transaction(cause=event) as unit:
            await unit.connection.fetchrow("lock_model", uuid)
            if await unit.connection.fetch("list_files", uuid):
                return
            await unit.connection.execute("add_files", uuid, model["slices"])
            await unit.connection.execute("count_effect", "planned", uuid)
            for number in range(len(model["slices"])):
                unit.emit(FileRequested(uuid, f"f{number}", 0))

    async def _ask_again(self, event: CloudEvent, uuid: str) -> None:
        async with self._bus.transaction(cause=event) as unit:
            files = await unit.connection.fetch("list_files", uuid)
            missing = [row["path"] for row in files if row["status"] != "verified"]
            for path in missing:
                unit.emit(FileRequested(uuid, path, 0))
        if not missing:
            await self._publish(uuid)

    async def transfer(self, event: CloudEvent) -> None:
        """`file.requested`: one slice."""
        wanted = event.decode(FileRequested)
        if await self._bus.seen(event):
            raise Duplicate(event.id)
        file = await self._db.fetchrow("claim_file", wanted.model_uuid, wanted.path, LEASE_S)
        if file is None:
            if await self._db.fetchval("is_leased", wanted.model_uuid, wanted.path):
                raise FileLeased(wanted.path)
            return
        try:
            await self._slice(event, wanted, file)
        except LeaseLost:
            return

    async def _slice(self, event: CloudEvent, wanted: FileRequested, file: Mapping[str, Any]) -> None:
        key, done = (file["model"], file["path"]), file["done"]
        lease = await self._work(key, file["lease"], done)
        last = done + 1 >= file["slices"]
        async with self._bus.transaction(cause=event) as unit:
            if last:
                await unit.connection.fetchrow("lock_model", key[0])
            status = "verified" if last else "transferring"
            if await unit.connection.fetchval("change_file", *key, lease, status, done + 1, None) is None:
                raise LeaseLost
            await unit.connection.execute("count_effect", "slice", f"{key[0]}/{key[1]}/{done}")
            files = await unit.connection.fetch("list_files", key[0])
            if not last:
                unit.emit(FileRequested(*key, wanted.slice_number + 1))
        if all(row["status"] == "verified" for row in files):
            await self._publish(key[0])

    async def _work(self, key: tuple[str, str], lease: float, done: int) -> float:
        """Move bytes for a while, renewing the lease halfway; answers the lease that is held then."""
        hangs = self._random.random() < HANG_RATE
        work_s = HANG_S if hangs else self._random.random() * self._random.choice(SLICES_S)
        await asyncio.sleep(work_s / 2)
        beat = await self._db.fetchval("change_file", *key, lease, "transferring", done, LEASE_S)
        if beat is None:
            raise LeaseLost
        await asyncio.sleep(work_s / 2)
        if self._random.random() < UNWELL_RATE:
            await self._db.fetchval("change_file", *key, beat, "transferring", done, None)
            raise Retry(5, "the source does not answer")
        return float(beat)

    async def _publish(self, uuid: str) -> None:
        async with self._bus.transaction() as unit:
            if await unit.connection.fetchval("publish_model", uuid) is not None:
                await unit.connection.execute("count_effect", "published", uuid)
                unit.emit(ModelAvailable(uuid, uuid), modelname=uuid)

    async def tick(self, _: CloudEvent) -> None:
        """Send what is left, redrive what stalled."""
        await self._bus.resend()
        async with self._bus.transaction() as unit:
            for row in await unit.connection.fetch("stalled_plans", STALLED_S):
                unit.emit(ModelRequested(row["uuid"]))
            for row in await unit.connection.fetch("stalled_files", STALLED_S):
                unit.emit(FileRequested(row["model"], row["path"], 0))


class Serve:
    """Makes servers of published models."""

    def __init__(self, db: Database, bus: Bus, cluster: Cluster) -> None:
        self._db = db
        self._bus = bus
        self._cluster = cluster

    def handlers(self) -> Mapping[str, Handler]:
        """By type of event."""
        return {ModelAvailable.TYPE: self.available, ServerRequested.TYPE: self.deploy, events.TICK: self.tick}

    async def available(self, event: CloudEvent) -> None:
        """`model.available`: a server, if one was wanted."""
        uuid = event.decode(ModelAvailable).model_uuid
        async with self._bus.transaction(cause=event) as unit:
            model = await unit.connection.fetchrow("model", uuid)
            if model is None or model["status"] != "available":
                raise Reject(f"there is no published model {uuid}")
            if model["serve"] and await unit.connection.fetchval("add_server", uuid) is not None:
                await unit.connection.execute("count_effect", "server", uuid)
                unit.emit(ServerRequested(uuid))

    async def deploy(self, event: CloudEvent) -> None:
        """`server.requested`: make the cluster agree with the record."""
        uuid = event.decode(ServerRequested).server_uuid
        if await self._bus.seen(event):
            return
        if await self._db.fetchrow("server", uuid) is None:
            raise Reject(f"there is no server {uuid}")
        await self._cluster.apply(uuid)
        async with self._bus.transaction(cause=event) as unit:
            if await unit.connection.fetchval("ready_server", uuid) is not None:
                await unit.connection.execute("count_effect", "served", uuid)
                unit.emit(Counted(uuid))

    async def tick(self, _: CloudEvent) -> None:
        """Send what is left, redrive what stalled."""
        await self._bus.resend()
        async with self._bus.transaction() as unit:
            for row in await unit.connection.fetch("stalled_servers", STALLED_S):
                unit.emit(ServerRequested(row["uuid"]))
            for row in await unit.connection.fetch("unserved_models", STALLED_S):
                unit.emit(ModelAvailable(row["uuid"], row["uuid"]))


class Status:
    """Counts, and keeps dead letters."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db = db
        self._bus = bus

    def handlers(self) -> Mapping[str, Handler]:
        """By type of event."""
        return {Counted.TYPE: self.counted, ModelAvailable.TYPE: self.heard, events.TICK: self.tick}

    async def counted(self, event: CloudEvent) -> None:
        """One more: the inbox alone keeps it from being two."""
        async with self._bus.transaction(cause=event) as unit:
            await unit.connection.execute("count_effect", "counted", event.decode(Counted).model_uuid)

    async def heard(self, event: CloudEvent) -> None:
        """News: kept for those who follow it, and nothing follows from it here."""
        async with self._bus.transaction(cause=event):
            pass

    async def dead_letter(self, request: Request) -> Response:
        """POST /deadletters."""
        event = events.parse(request.headers, await request.body())
        dest = event.extensions.get("knativeerrordest", "")
        await self._db.execute("add_dead_letter", event.source, event.id, dest, event.type, event.subject)
        return Response(status_code=204)

    async def tick(self, _: CloudEvent) -> None:
        """Send what is left."""
        await self._bus.resend()


Route = Callable[[Request], Awaitable[Response]]
