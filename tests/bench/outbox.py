"""From the transaction that writes an event to the start of its handler: outbox, Broker, Trigger, function; all real.

A Knative Service and a Trigger of our own are applied to the runtime; the bus writes to the runtime's own PostgreSQL.
"""

import asyncio
import base64
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.events import Event
from functions.kit.publisher import HttpPublisher
from functions.kit.settings import Secret
from kn_model.demo.runtime import RunningRuntime
from kn_model.laptop import Cluster
from tests.bench.report import Row
from tests.deliveries import KEYRING

RATE: Final = 200
SECONDS: Final = 10
ROUNDS: Final = 3
AIM_MS: Final = 50.0
SETTLE_S: Final = 2.0
NAME: Final = "bench-sink"
SOURCE: Final = "/torpor/bench"
_WARM_UP: Final = 200
_NAMESPACE: Final = "torpor"


@dataclass(frozen=True, slots=True)
class Happened(Event):
    """An event of the benchmark; number is its subject."""

    TYPE: ClassVar[str] = "dev.torpor.bench.happened.v1"
    number: str


def sink(notes: Path) -> Mapping[str, Any]:
    """The sink as a Knative Service."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": _NAMESPACE},
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {"autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/max-scale": "1"}
                },
                "spec": {
                    "containers": [
                        {
                            "image": "bench",
                            "command": ["python", "-m", "functions_framework", "--asgi"],
                            "args": ["--source", "tests/bench/sink.py", "--target", "handle"],
                            "env": [{"name": "BENCH_NOTES", "value": str(notes)}],
                        }
                    ]
                },
            }
        },
    }


TRIGGER: Final[Mapping[str, Any]] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Trigger",
    "metadata": {"name": NAME, "namespace": _NAMESPACE},
    "spec": {
        "broker": "default",
        "filter": {"attributes": {"type": Happened.TYPE}},
        "subscriber": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": NAME}},
    },
}


async def row(cluster: Cluster, running: RunningRuntime) -> Row:
    """p50 and p99 at RATE events a second over SECONDS, ROUNDS times; the figure is the median round's p99."""
    async with deployed(cluster, running) as notes:
        rounds = [sorted(await _measure(cluster, running, notes)) for _ in range(ROUNDS)]
    arrived = sum(len(ordered) for ordered in rounds)
    if arrived < RATE * SECONDS * ROUNDS:
        raise RuntimeError(f"only {[len(ordered) for ordered in rounds]} of {RATE * SECONDS} events a round arrived")
    tails = [ordered[int(len(ordered) * 0.99) - 1] for ordered in rounds]
    p50, p99 = statistics.median(statistics.median(ordered) for ordered in rounds), statistics.median(tails)
    what = f"event written to the outbox until its handler has started, warm, {RATE} events/s"
    seen = f"p50 {p50:.1f} ms; p99 of {ROUNDS} rounds {', '.join(f'{tail:.0f}' for tail in tails)} ms"
    seen += f"; all {arrived} arrived"
    return Row(what, seen, "-", f"p99 {p99:.1f} ms", f"<= {AIM_MS:.0f} ms", p99 <= AIM_MS)


@asynccontextmanager
async def deployed(cluster: Cluster, running: RunningRuntime) -> AsyncIterator[Path]:
    """The sink and its Trigger; where the sink notes what it gets."""
    async with _api(cluster) as api:
        notes = running.folder / "bench-notes"
        await _apply(api, notes)
        try:
            yield notes
        finally:
            await api.delete(_path("eventing.knative.dev/v1", "triggers", NAME))
            await api.delete(_path("serving.knative.dev/v1", "services", NAME))


@asynccontextmanager
async def bus(cluster: Cluster, running: RunningRuntime) -> AsyncIterator[Bus]:
    """A function's bus on the runtime's PostgreSQL and Broker."""
    database = Database(Secret(await database_url(cluster)))
    publisher = HttpPublisher(f"{running.url}/_svc/knative-eventing/broker-ingress/{_NAMESPACE}/default")
    try:
        yield Bus(database, SOURCE, publisher, KEYRING)
    finally:
        await publisher.close()
        await database.close()


async def database_url(cluster: Cluster) -> str:
    """Where the runtime's PostgreSQL is."""
    async with _api(cluster) as api:
        secret = (await api.get(_path("v1", "secrets", "torpor-postgres"))).json()
    return base64.b64decode(secret["data"]["url"]).decode()


def _api(cluster: Cluster) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=cluster.server, headers=cluster.headers, verify=cluster.verify, trust_env=False, timeout=60
    )


async def _apply(api: httpx.AsyncClient, notes: Path) -> None:
    for version, plural, body in (
        ("serving.knative.dev/v1", "services", sink(notes)),
        ("eventing.knative.dev/v1", "triggers", TRIGGER),
    ):
        (await api.post(_path(version, plural), json=body)).raise_for_status()
    for _ in range(200):
        service = (await api.get(_path("serving.knative.dev/v1", "services", NAME))).json()
        conditions = {entry["type"]: entry["status"] for entry in service.get("status", {}).get("conditions", ())}
        if conditions.get("Ready") == "True":
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{NAME} did not become ready: {conditions}")


async def _measure(cluster: Cluster, running: RunningRuntime, notes: Path) -> list[float]:
    async with bus(cluster, running) as of_ours:
        await asyncio.gather(*(_emit(of_ours, f"warm-{number}") for number in range(_WARM_UP)))
        # The warm-up is a burst: what is measured begins when it is over.
        await asyncio.sleep(SETTLE_S)
        started = await _paced(of_ours)
        return await _latencies(notes, started)


async def _paced(bus: Bus) -> dict[str, float]:
    """Emit at RATE whatever the answers take; the time of each, just before its transaction."""
    begin, tasks = time.monotonic(), []
    for number in range(RATE * SECONDS):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        # No round has the numbers of another: the sink keeps them all.
        tasks.append(asyncio.create_task(_emit(bus, f"{begin}-{number}")))
    return dict(await asyncio.gather(*tasks))


async def _emit(bus: Bus, number: str) -> tuple[str, float]:
    written_at = time.time()
    async with bus.transaction() as unit:
        unit.emit(Happened(number))
    return number, written_at


async def _latencies(notes: Path, written: Mapping[str, float]) -> list[float]:
    """Milliseconds, once every event has arrived or ten seconds have passed."""
    for _ in range(100):
        text = await asyncio.to_thread(notes.read_text, encoding="utf-8")
        pairs = (line.split(" ") for line in text.splitlines())
        started = {subject: float(at) for subject, at in pairs}
        if written.keys() <= started.keys():
            break
        await asyncio.sleep(0.1)
    return [(started[number] - at) * 1000 for number, at in written.items() if number in started]


def _path(version: str, plural: str, name: str = "") -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{_NAMESPACE}/{plural}" + (f"/{name}" if name else "")
