"""Events that the harness sends itself: usage as engines report it, and poison that no subscriber can ever take.

Both are repeated with the same id until the Broker takes them, as an engine does.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from functions.kit import events, signature
from functions.kit.events import CloudEvent, ModelRequested, ServerRequested, UsageRecord, UsageRecorded
from functions.kit.settings import Secret
from tests.chaos.plan import dice
from tests.chaos.wire import Cut, Wire
from tests.chaos.world import World

ENGINE: Final = "/torpor/engine"
# Whoever invents an event: its source is nobody's.
STRANGER: Final = "/torpor/chaos"
SENDERS: Final = 32
# Poison is one in so many.
POISON_EVERY: Final = 150
MODELS: Final = ("chaos-a", "chaos-b", "chaos-c")
SUBJECTS: Final = ("alice", "bob", "carol", "dave")
ACCEPTED: Final = 202
PAUSE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as it goes over the wire, signature and all."""

    id: str
    source: str
    headers: dict[str, str]
    body: bytes


def usage_id(seed: int, number: int) -> str:
    """The id of one usage event."""
    return f"{seed}-usage-{number}"


def usage(seed: int, number: int) -> UsageRecorded:
    """What one usage event reports: one to three requests."""
    chance = dice(seed, f"usage/{number}")
    records = [
        UsageRecord(
            request_id=f"{seed}-{number}-{position}",
            subject=chance.choice(SUBJECTS),
            key_id=None,
            model_name=chance.choice(MODELS),
            prompt_tokens=chance.randrange(1, 4000),
            completion_tokens=chance.randrange(0, 1000),
            started_at="2026-01-02T03:04:05Z",
            duration_ms=chance.randrange(1, 60_000),
            status=200,
            streamed=chance.random() < 0.5,
        )
        for position in range(chance.randrange(1, 4))
    ]
    return UsageRecorded("chaos", records)


def poison(seed: int, number: int) -> tuple[CloudEvent, str]:
    """One event that no subscriber can take, and the key that signs it."""
    kind = dice(seed, f"poison/{number}").randrange(6)
    good = msgspec.json.encode(usage(seed, number))
    bodies = {
        0: (UsageRecorded.TYPE, good.replace(b"2026-01-02T03:04:05Z", b"yesterday"), "engines"),
        1: (UsageRecorded.TYPE, b"[" * 5000, "engines"),
        2: (UsageRecorded.TYPE, good, "nobody"),
        3: (ModelRequested.TYPE, b'{"model": "nobody"}', "functions"),
        4: (ModelRequested.TYPE, b"\xff\xfe no text at all", "functions"),
        5: (ServerRequested.TYPE, b'{"server_uuid": "nobody"}', "functions"),
    }
    type_, body, key = bodies[kind]
    return CloudEvent(f"{seed}-poison-{number}", STRANGER, type_, "nobody", {}, body), key


@dataclass
class Events:
    """Sends `count` usage events at `rate` a second on average, and poison between them."""

    world: World
    wire: Wire
    seed: int
    count: int
    rate: float
    begun: int = field(default=0, init=False)
    accepted: int = field(default=0, init=False)
    tries: int = field(default=0, init=False)
    poisoned: list[Sent] = field(default_factory=list, init=False)
    refused: list[str] = field(default_factory=list, init=False)

    async def run(self) -> None:
        """Until every event is accepted."""
        began = time.monotonic()
        await asyncio.gather(*(self._send_usage(began) for _ in range(SENDERS)), self._send_poison(began))

    async def _send_usage(self, began: float) -> None:
        while self.begun < self.count:
            number, self.begun = self.begun, self.begun + 1
            await asyncio.sleep(began + number / self.rate - time.monotonic())
            body = msgspec.json.encode(usage(self.seed, number))
            event = CloudEvent(usage_id(self.seed, number), ENGINE, UsageRecorded.TYPE, "chaos", {}, body)
            await self._send(self._sealed(event, "engines"))
            self.accepted += 1

    async def _send_poison(self, began: float) -> None:
        for number in range(self.count // POISON_EVERY):
            await asyncio.sleep(began + number * POISON_EVERY / self.rate - time.monotonic())
            sent = self._sealed(*poison(self.seed, number))
            await self._send(sent)
            self.poisoned.append(sent)

    def _sealed(self, event: CloudEvent, key: str) -> Sent:
        """Signed with the runtime's own key `engines` or `functions`, or with one that is nobody's."""
        secret = Secret(self.world.secrets["torpor-events"].get(key, "nobody's"))
        signed = {signature.NAME: signature.sign(secret, event)}
        attributes = (event.id, event.source, event.type, event.subject)
        return Sent(event.id, event.source, events.headers(*attributes, signed), event.data)

    async def _send(self, sent: Sent) -> None:
        while True:
            await self.world.up.wait()
            self.tries += 1
            try:
                status = await self.wire.deliver(sent.headers, sent.body)
            except Cut:
                status = 0
            if status == ACCEPTED:
                return
            if status and status < 500 and status != 429:
                self.refused.append(f"the ingress answered {status} to {sent.id}")
                return
            await asyncio.sleep(PAUSE_S)
