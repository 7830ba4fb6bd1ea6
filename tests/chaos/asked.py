"""Asynchronous inference: asked of the servers that there are, under one key until there is an answer."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.api import Api
from tests.chaos.world import World

NOT_FOUND: Final = 404
CONFLICT: Final = 409
WORDS: Final = 4
# Of fewer, every one may have met a server that was just being deleted.
JUDGED_FROM: Final = 10


@dataclass
class Asked:
    """The accepted requests, by id, each with the server that was asked."""

    api: Api
    seed: int
    accepted: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    _count: int = 0

    async def one(self, server: str) -> None:
        """Ask it once."""
        self._count += 1
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": WORDS}
        answer = await self.api.call(
            "POST", "/inference", {"server": server, "body": body}, idempotency_key=f"chaos-{self.seed}-{self._count}"
        )
        if answer.accepted:
            self.accepted[answer.body["id"]] = server
        elif answer.status not in (NOT_FOUND, CONFLICT):  # it was deleted, or has failed
            self.findings.append(f"POST /inference of {server}: {answer.status} {answer.body}")

    def in_vain(self, completed: int) -> list[str]:
        """What is wrong when nothing at all comes of asking: refusals and failures are each allowed, but not for all."""
        if self._count >= JUDGED_FROM and not self.accepted:
            return [f"none of {self._count} was accepted"]
        if len(self.accepted) >= JUDGED_FROM and not completed:
            return [f"none of {len(self.accepted)} was completed"]
        return []


async def wrong(world: World, asked: Asked) -> Sequence[str]:
    """Every accepted request is there once and completed once, unless its server went before."""
    rows = {
        row["uuid"]: row for row in await world.sql("SELECT * FROM inference_requests WHERE accepted_at IS NOT NULL")
    }
    servers = {row["uuid"]: row["status"] for row in await world.sql("SELECT uuid, status FROM server_records")}
    news: dict[str, list[str]] = defaultdict(list)
    for row in await world.sql("SELECT subject, type FROM feed WHERE type LIKE 'inference.%'"):
        news[row["subject"]].append(row["type"])
    found = asked.in_vain(sum(row["status"] == "completed" for row in rows.values()))
    for uuid, server in asked.accepted.items():
        found += [f"{uuid} of {server} {problem}" for problem in await _of(world, rows.pop(uuid, None), servers, news)]
    return [*found, *(f"from nowhere: {uuid}" for uuid in rows)]


async def _of(world: World, row: Any, servers: dict[str, str], news: dict[str, list[str]]) -> Sequence[str]:
    if row is None:
        return ["is lost"]
    gone = servers.get(row["server_uuid"]) == "deleted"
    if row["status"] != "completed" and not (row["status"] == "failed" and gone):
        return [f"is {row['status']} after {row['attempts']} attempts: {row['error']}"]
    told = news[row["uuid"]]
    problems = [] if told == [f"inference.{row['status']}"] else [f"is {row['status']} and was told as {told}"]
    stored = await world.bucket().head(f"inference/{row['uuid']}/result.json")
    if row["status"] == "completed" and (stored is None or stored.size != row["result_bytes"]):
        problems.append("is completed and its answer is not stored")
    return problems
