"""The lives of models and their servers: pulled, cancelled, retried, served, changed, deleted; one command after another.

Each life keeps what it may have become, by what was accepted and by what may have been. The audit compares.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kn_model.local.data.postgres import unreachable
from tests.chaos.api import Answer, Api
from tests.chaos.asked import Asked
from tests.chaos.hub import ENDS, OWNER
from tests.chaos.world import World

# How often a life takes a turn.
PULLED_TWICE: Final = 0.3
CANCELLED: Final = 0.2
RETRIED: Final = 0.6
SERVED: Final = 0.5
SERVED_BY_EVENT: Final = 0.15
PATCHED: Final = 0.5
SERVER_DELETED: Final = 0.85
# Asynchronous calls of one server, all at once.
ASKED: Final = 5
MADE_AGAIN: Final = 0.2
DELETED: Final = 0.5
# The large model is rare: it is twelve megabytes each time.
WEIGHTS: Final[Mapping[str, int]] = {
    "small": 8, "second": 6, "sharded": 4, "parts": 2, "lying": 2, "broken": 2, "pickled": 1,
}  # fmt: skip
# A life goes on after this, whatever became of its download.
PATIENCE_S: Final = 25.0
LOOK_S: Final = 0.5
WINDOWS_S: Final = (6, 7, 8, 9, 10)
CONFLICT, NOT_FOUND = 409, 404
DELETED_SINCE: Final[Mapping[str, str]] = {
    "model": "SELECT 1 FROM model_records WHERE uuid = $1 AND status = 'deleted' AND updated_at >= $2",
    "server": "SELECT 1 FROM server_records WHERE uuid = $1 AND status = 'deleted' AND updated_at >= $2",
}


@dataclass(slots=True)
class Server:
    """One accepted server of a life. window_s: what was accepted last."""

    name: str
    uuid: str
    window_s: int
    deleted: bool = False


@dataclass(slots=True)
class Life:
    """One model: its name, what it is made of, and the states that it may be in at the end."""

    name: str
    repository: str
    uuid: str = ""
    may_be: set[str] = field(default_factory=set)
    servers: list[Server] = field(default_factory=list)
    # Served by the event of its availability; None when the pull did not ask for it.
    by_event: str | None = None


@dataclass
class Models:
    """All lives, in order."""

    world: World
    api: Api
    seed: int
    chance: random.Random
    asked: Asked
    lives: list[Life] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    async def one(self) -> None:
        """One life, from pull to wherever the dice lead."""
        chance = random.Random(self.chance.random())  # noqa: S311  # lives side by side do not share dice
        repository = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        life = Life(f"chaos-{self.seed}-{len(self.lives)}", repository)
        self.lives.append(life)
        await self._pull(life, chance)
        if chance.random() < CANCELLED:
            await self._cancel(life, chance)
        state = await self._settled(life)
        if state == "available" and life.by_event:
            await self._ask(life.by_event)
        if state == "available" and life.by_event is None and chance.random() < SERVED:
            await self._serve(life, chance)
        if life.by_event is None and chance.random() < DELETED:
            await self._delete(life)

    async def _pull(self, life: Life, chance: random.Random) -> None:
        serve: Any = False
        if ENDS[life.repository] == "available" and chance.random() < SERVED_BY_EVENT:
            life.by_event = f"e{life.name}"
            serve = {"name": life.by_event, "runtime": "stub", "scale": {"window_s": 6}}
        body = {"source": f"hf://{OWNER}/{life.repository}", "name": life.name, "serve": serve}
        answer = await self.api.call("POST", "/models", body)
        if not self._expect(answer, f"POST /models {life.name}"):
            return
        life.uuid, life.may_be = answer.body["uuid"], {ENDS[life.repository]}
        if chance.random() < PULLED_TWICE:
            again = await self.api.call("POST", "/models", body)
            if self._expect(again, f"POST /models {life.name} again") and again.body["uuid"] != life.uuid:
                self.findings.append(f"doubled: the same pull of {life.name} made {life.uuid} and {again.body['uuid']}")

    async def _cancel(self, life: Life, chance: random.Random) -> None:
        await asyncio.sleep(chance.random() * 2)
        answer = await self.api.call("POST", f"/models/{life.uuid}/cancel")
        if answer.accepted:
            life.may_be = {"failed"}
        elif answer.status == CONFLICT and answer.lost:
            life.may_be.add("failed")
        elif answer.status != CONFLICT:
            self._expect(answer, f"POST cancel {life.name}")
        if "failed" in life.may_be and chance.random() < RETRIED:
            again = await self.api.call("POST", f"/models/{life.uuid}/retry")
            if again.accepted or again.lost:
                life.may_be = {ENDS[life.repository]} | (set() if again.accepted else life.may_be)
            elif answer.accepted:
                self._expect(again, f"POST retry of the cancelled {life.name}")

    async def _settled(self, life: Life) -> str:
        """The state of the model's record once it has one that lasts, or the last seen."""
        deadline, seen = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < deadline and seen not in ("available", "failed"):
            await asyncio.sleep(LOOK_S)
            with suppress(*unreachable()):
                rows = await self.world.sql("SELECT status FROM model_records WHERE uuid = $1", life.uuid)
                seen = rows[0]["status"] if rows else ""
        return seen

    async def _serve(self, life: Life, chance: random.Random) -> None:
        await self._make(life, chance)
        if life.servers and life.servers[-1].deleted and chance.random() < MADE_AGAIN:
            await self._make(life, chance)

    async def _make(self, life: Life, chance: random.Random) -> None:
        server = Server(f"s{life.name}", "", 6)
        body = {"model": life.uuid, "name": server.name, "runtime": "stub", "scale": {"window_s": server.window_s}}
        answer = await self.api.call("POST", "/serve", body)
        if not self._expect(answer, f"POST /serve {server.name}"):
            return
        server.uuid = answer.body["uuid"]
        life.servers.append(server)
        if chance.random() < PATCHED:
            await asyncio.sleep(chance.random() * 3)
            await self._patch(server, chance.choice(WINDOWS_S))
        await asyncio.sleep(chance.random() * 3)
        await self._ask(server.name)
        if chance.random() < SERVER_DELETED:
            began = datetime.now(UTC)
            gone = await self.api.call("DELETE", f"/serve/{server.name}")
            server.deleted = gone.accepted or await self._ours(gone, "server", server.uuid, began)
            if not server.deleted:
                self._expect(gone, f"DELETE /serve/{server.name}")

    async def _ask(self, server: str) -> None:
        await asyncio.gather(*(self.asked.one(server) for _ in range(ASKED)))

    async def _patch(self, server: Server, window_s: int) -> None:
        answer = await self.api.call("PATCH", f"/serve/{server.name}", {"scale": {"window_s": window_s}})
        if self._expect(answer, f"PATCH /serve/{server.name}"):
            server.window_s = window_s

    async def _delete(self, life: Life) -> None:
        began = datetime.now(UTC)
        answer = await self.api.call("DELETE", f"/models/{life.uuid}")
        served = any(not server.deleted for server in life.servers)
        if answer.accepted and served:
            self.findings.append(f"{life.name} was deleted although it is served")
        elif answer.accepted or await self._ours(answer, "model", life.uuid, began):
            life.may_be = {"deleted"}
        elif not (served and answer.status == CONFLICT):
            self._expect(answer, f"DELETE /models/{life.name}")

    async def _ours(self, answer: Answer, record: str, uuid: str, began: datetime) -> bool:
        """Whether a 404 is this command's own doing: it was heard, and then once more.

        Not only we repeat a DELETE whose answer was lost: HTTP does so by itself when a connection that was used before
        breaks off (RFC 9110 section 9.2.2), and then nobody counts it.
        """
        while answer.status == NOT_FOUND:
            with suppress(*unreachable()):
                return bool(await self.world.sql(DELETED_SINCE[record], uuid, began))
            await asyncio.sleep(LOOK_S)
        return False

    def _expect(self, answer: Answer, what: str) -> bool:
        if not answer.accepted:
            self.findings.append(f"{what}: {answer.status} {answer.body} after {answer.lost} lost answers")
        return answer.accepted
