"""One run: a database, a broker, functions, people, and what goes wrong with them; everything decided by one seed.

`World(seed).run()` answers what was violated. `python -m tests.simulation --seed N` prints what happened.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from functions.kit.bus import Bus
from functions.kit.db import Database
from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import Answer
from kn_model.local.eventing.ledger import Ledger
from kn_model.local.eventing.sources import Sender
from tests.simulation import faults, processes, statements, verdict
from tests.simulation.domain import Cluster, Download, Serve, Status
from tests.simulation.loop import Loop, Process, here
from tests.simulation.lossy import LossyLedger
from tests.simulation.network import Call, Network, Sending
from tests.simulation.people import People
from tests.simulation.postgres import Pool, Server
from tests.simulation.store import Store
from tests.simulation.trace import Trace

TICK_S: Final = 60.0
# How long after the last fault everything has to be done: twice the longest chain of stalls that the tick mends.
SETTLED_WITHIN_S: Final = 1200.0
LOOK_S: Final = 10.0
# After everything is done: does anything happen once more?
AFTERMATH_S: Final = 65.0

_STATEMENTS: Final = statements.by_text()
_TRIGGERS: Final = processes.triggers()


@dataclass
class Parts:
    """What a planted bug replaces; see `plants`."""

    bus: type[Bus] = Bus
    ledger: Callable[[Any, Any], Ledger] = Ledger
    download: type[Download] = Download
    serve: type[Serve] = Serve
    statements: Mapping[str, Any] = field(default_factory=dict)


class World:
    """Everything that exists in one run."""

    def __init__(self, seed: int, *, parts: Parts | None = None, trace: Trace | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.parts = parts or Parts()
        self.loop = Loop(Random(self.random.random()))  # noqa: S311 - likewise
        self.trace = trace or Trace()
        self.trace.clock = self.loop.time
        self.plan = faults.plan(self.random)
        self.store = Store(self.random)
        self.server = Server(self.store, self.random, {**_STATEMENTS, **self.parts.statements})
        self.network = Network(self.random)
        self.cluster = Cluster(self.random)
        self.record = verdict.Record()
        self.people = People(self)
        self.running: dict[str, list[Process]] = {}
        self.started = 0
        self.over = False
        self.store.watch = self.record.watch
        self._ids = processes.ids(self.random)

    def run(self) -> list[str]:
        """What was violated."""
        with self.trace.listening(self.record):
            self.loop.run(self._story())
        return self.record.violations

    async def _story(self) -> None:
        for name in ("download", "serve", "status"):
            for _ in range(self.plan.instances):
                self.start_function(name)
        self.start_broker()
        if self.plan.lossy:
            self._process("source").spawn(self._tick())
        self.trace.note("plan", str(self.plan))
        tasks = [self.loop.create_task(self.people.work()), *faults.start(self)]
        await asyncio.gather(*tasks)
        faults.heal(self)
        self.trace.note("healed", "no more faults")
        await self._settle()
        self.record.violations.extend(verdict.judge(self))

    async def _settle(self) -> None:
        until = self.loop.time() + SETTLED_WITHIN_S
        while self.loop.time() < until and verdict.unfinished(self):  # noqa: ASYNC110 - nobody tells when all is done
            await asyncio.sleep(LOOK_S)
        self.trace.note("settled", f"after {self.loop.time():.0f} s")
        await asyncio.sleep(AFTERMATH_S)

    def now(self) -> datetime:
        """The wall clock of every process but the database."""
        return datetime.fromtimestamp(1e9 + self.loop.time(), UTC)

    def start_function(self, name: str) -> Process:
        """One more instance of a function."""
        process = self._process(name)
        process.spawn(self._function(name, process))
        return process

    async def _function(self, name: str, process: Process) -> None:
        db: Database = processes.SimulatedDatabase(self.server)
        source = f"/torpor/{name}"
        publisher = processes.Publishing(self.network)
        bus = self.parts.bus(db, source, publisher, processes.KEYRING, self._ids)
        routes: dict[str, Any] = {}
        if name == "download":
            download = self.parts.download(db, bus, self.random)
            routes = {"/models": download.command, "/events": processes.events_route(download.handlers())}
        elif name == "serve":
            routes = {"/events": processes.events_route(self.parts.serve(db, bus, self.cluster).handlers())}
        else:
            status = Status(db, bus)
            routes = {"/events": processes.events_route(status.handlers()), "/deadletters": status.dead_letter}
        serve = processes.Function(process, routes, self.record.bug)
        self.network.join(processes.host(name), process, self._traced(serve))

    def start_broker(self) -> Process:
        """The broker, which comes back with what the ledger holds, or with nothing."""
        process = self._process("broker")
        process.spawn(self._broker(process))
        if not self.plan.lossy:
            process.spawn(self._tick())
        return process

    async def _broker(self, process: Process) -> None:
        new_id = processes.uuids(self.random)
        if self.plan.lossy:
            ledger: Ledger = LossyLedger(self.random, new_id)
        else:
            ledger = self.parts.ledger(Pool(self.server, processes.BROKER_POOL), new_id)
        broker = processes.SimulatedBroker(ledger, Watching(self), _TRIGGERS, self.now)
        await processes.opened(broker)

        async def ingress(call: Call) -> Answer:
            return await processes.broker_ingress(broker, call)

        self.network.join(processes.BROKER_HOST, process, ingress)
        await broker.deliver()

    async def _tick(self) -> None:
        """The PingSource: the real sender, on the simulation's clock."""
        sender = Sender(Sending(self.network), processes.BROKER_URL, "torpor")
        while True:
            await asyncio.sleep(TICK_S)
            attributes = {
                "id": self._ids(),
                "source": "/tick",
                "type": "dev.knative.sources.ping",
                "specversion": "1.0",
            }
            await sender(CloudEvent(attributes, None))

    def _process(self, name: str) -> Process:
        self.started += 1
        process = Process(self.loop, f"{name}.{self.started}")
        self.running.setdefault(name, []).append(process)
        self.trace.note("start", process.name)
        return process

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        self.trace.note("kill", process.name)
        self.running[process.name.partition(".")[0]].remove(process)
        process.kill()

    def _traced(self, serve: Callable[[Call], Any]) -> Callable[[Call], Any]:
        if not self.trace.on:
            return serve

        async def traced(call: Call) -> Answer:
            who = here()
            what = f"{call.headers.get('ce-type', call.path)} {call.headers.get('ce-subject', '')}"
            self.trace.note("call", f"{who.name if who else ''} <- {what} {call.headers.get('ce-id', '')[:8]}")
            answer: Answer = await serve(call)
            self.trace.note("answer", f"{who.name if who else ''} {answer.status} to {what}")
            return answer

        return traced


@dataclass(frozen=True, slots=True)
class Watching:
    """The broker's `Send`, which also notes how each attempt ended: what may be a dead letter follows from it."""

    world: World

    async def __call__(
        self, url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """Send, and note."""
        answer = await Sending(self.world.network)(url, event, headers, timeout_s)
        self.world.trace.counts["delivery"] += 1
        self.world.record.attempt(url, event.attributes, answer.status)
        return answer
