"""Puts the parts of the laptop runtime together, in the order in which they need each other.

    PostgreSQL, S3 and rendering side by side -> objects and their API -> Secrets, manifests, Jobs
    -> front door, serving -> broker, sources -> first revisions -> ready

Called by the supervisor alone. Closing the stack that it fills ends everything in the opposite order.
"""

import asyncio
import functools
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from aiohttp import ClientSession, TCPConnector

from kn_model.local import generated_secrets, listener, render
from kn_model.local.addresses import Addresses
from kn_model.local.admission import admit as admission
from kn_model.local.admission import supported
from kn_model.local.admission.config import ClusterConfig
from kn_model.local.api import app as api
from kn_model.local.api import certificate, cluster
from kn_model.local.api.errors import NotFound
from kn_model.local.api.service_tokens import ServiceTokens
from kn_model.local.apply import apply, checked, ensure, is_a, prune
from kn_model.local.data import dependencies
from kn_model.local.data.dependencies import Dependencies
from kn_model.local.door import proxy
from kn_model.local.door.deliveries import DoorSend
from kn_model.local.door.directory import Directory
from kn_model.local.door.frontdoor import FrontDoor, application
from kn_model.local.eventing.broker import Broker
from kn_model.local.eventing.ledger import Ledger
from kn_model.local.eventing.sender import HttpSend
from kn_model.local.eventing.sources import Sources
from kn_model.local.jobs import Jobs
from kn_model.local.objects import conditions, kinds
from kn_model.local.objects.kinds import Object
from kn_model.local.objects.storage import PostgresStorage
from kn_model.local.objects.store import ObjectStore
from kn_model.local.options import CLONE, Options
from kn_model.local.own_deliveries import OwnDeliveries
from kn_model.local.progress import Say, step
from kn_model.local.serving import gpus
from kn_model.local.serving.launcher import Folders, Launcher
from kn_model.local.serving.pod_plan import Machine
from kn_model.local.serving.reconciler import Serving
from kn_model.local.state import Runtime, State

# The store writes one at a time; the broker accepts, claims and finishes side by side. Each idle one holds 15 MB.
CONNECTIONS: Final = 4
IDLE_S: Final = 30.0
# Four small processes on two slow cores take two seconds; what takes this long does not come up by itself.
FUNCTIONS_S: Final = 30.0
LOOK_S: Final = 0.05


@dataclass(frozen=True)
class Parts:
    """What the parts share: the objects, where the runtime listens, and who may ask for what."""

    store: ObjectStore
    addresses: Addresses
    tokens: ServiceTokens
    launcher: Launcher


async def start(stack: AsyncExitStack, state: State, options: Options) -> Sequence["asyncio.Task[None]"]:
    """Start everything. The tasks that are returned end only when something breaks for good."""
    options.tell(f"starting in {state.folder}")
    depends, manifests = await asyncio.gather(
        dependencies.started(state, options.environ, options.tell), asyncio.to_thread(_manifests, options)
    )
    stack.push_async_callback(depends.stop)
    keeping = [_task(stack, dependencies.keep(server, options.tell)) for server in depends.servers]
    pool = await asyncpg.create_pool(
        depends.database_url,
        min_size=1,
        max_size=CONNECTIONS,
        max_inactive_connection_lifetime=IDLE_S,
        reset=_as_it_is,
    )
    stack.callback(pool.terminate)
    parts = await _parts(stack, state, options, PostgresStorage(pool))
    jobs = Jobs(parts.store, parts.launcher)
    session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
    own = OwnDeliveries(parts.addresses.front)
    door = FrontDoor(Directory(), parts.store, await stack.enter_async_context(proxy.client()), own)
    send = DoorSend(door, HttpSend(session, own))
    broker = Broker(parts.store, Ledger(pool), send, parts.addresses)
    door.broker = broker.ingress
    await _front_door(stack, parts, options, door)
    working = [_task(stack, jobs.run())]
    await _apply(parts.store, jobs, depends, manifests)
    await broker.open(alone=depends.own_database)
    working.append(_task(stack, broker.run()))
    working.append(_task(stack, Sources(parts.store, send, parts.addresses).run()))
    await _functions_ready(parts.store, manifests, options.tell)
    _ready(state, options, parts)
    return [*keeping, *working]


async def _as_it_is(_: object) -> None:
    """A connection goes back to the pool without another round trip: nobody here leaves state in a session.

    asyncpg ends an open transaction all the same.
    """


# One machine has one GPU, or none: a rollout there needs revisions that are ready before they run.
_admit: Final = functools.partial(admission.admit, config=ClusterConfig(zero_initial_scale=True))


async def _parts(stack: AsyncExitStack, state: State, options: Options, storage: PostgresStorage) -> Parts:
    """The objects, their API, and what starts processes."""
    store = ObjectStore(storage)
    await store.open()
    tls = await asyncio.to_thread(certificate.ensure, state.folder / "tls")
    tokens = ServiceTokens(state.folder / "tokens", tls.ca)
    serves = api.application(cluster.Cluster(store, _admit, supported.check), tokens.user_of)
    runner = await listener.listen(serves, options.kube_port, tls=tls.context())
    stack.push_async_callback(runner.cleanup)
    addresses = Addresses(
        front=f"http://{listener.LOOPBACK}:{options.port}",
        kube=f"https://{listener.LOOPBACK}:{listener.port_of(runner)}",
    )
    machine = Machine(addresses, sys.executable, CLONE, options.environ)
    folders = Folders(state.logs, stack.enter_context(state.short_pods()), tokens.folder_of)
    return Parts(store, addresses, tokens, Launcher(machine, folders, store.find, gpus.Gpus(gpus.present())))


async def _front_door(stack: AsyncExitStack, parts: Parts, options: Options, door: FrontDoor) -> None:
    """The port that people call, and the services behind it."""
    runner = await listener.listen(application(door), options.port)
    stack.push_async_callback(runner.cleanup)
    serving = Serving(parts.store, parts.launcher, parts.addresses, door.directory)
    await serving.start()
    stack.push_async_callback(serving.stop)


async def _apply(store: ObjectStore, jobs: Jobs, depends: Dependencies, manifests: Sequence[Object]) -> None:
    """Secrets, then everything up to the Jobs, then, once those are done, what needs their work."""
    await ensure(store, generated_secrets.namespace(), renew=False)
    await ensure(store, generated_secrets.postgres(depends.database_url), renew=True)
    await ensure(store, generated_secrets.s3(depends.s3), renew=True)
    await ensure(store, generated_secrets.auth(), renew=False)
    await ensure(store, generated_secrets.events(), renew=False)
    before, after = _around_jobs(manifests)
    await prune(store, manifests)
    wanted = [each["metadata"] for each in before if is_a(kinds.JOB, each)]
    for metadata in wanted:
        with suppress(NotFound):  # done in an earlier run: the code may be another release's now
            await store.delete(kinds.JOB, metadata["namespace"], metadata["name"])
    await apply(store, before)
    for metadata in wanted:
        async with step(f"Job {metadata['name']}"):
            await jobs.finished(metadata["namespace"], metadata["name"])
    await apply(store, after)


async def _functions_ready(store: ObjectStore, manifests: Sequence[Object], tell: Say) -> None:
    """Wait for the first revisions, so that a call right after «ready» is answered.

    One that does not come up is named and not waited for: whoever mends it needs the runtime.
    """
    wanted = [each["metadata"] for each in manifests if is_a(kinds.SERVICE, each)]
    pending = [each["name"] for each in wanted]
    with suppress(TimeoutError):
        async with asyncio.timeout(FUNCTIONS_S), step("functions", tell):
            while pending:
                found = {each["name"]: store.find(kinds.SERVICE, each["namespace"], each["name"]) for each in wanted}
                pending = [name for name, service in found.items() if conditions.read(service).status is not True]
                await asyncio.sleep(LOOK_S)
    if pending:
        tell(f"not ready: {', '.join(pending)} (kn model logs NAME says why)")


def _manifests(options: Options) -> Sequence[Object]:
    """The rendered objects with the values of this run, checked."""
    values = {"public-url": f"http://{listener.LOOPBACK}:{options.port}", **options.values}
    return checked(render.configured(render.render(options.manifests), values))


def _around_jobs(manifests: Sequence[Object]) -> tuple[Sequence[Object], Sequence[Object]]:
    """`checked` has put what others refer to, Jobs last, before the rest."""
    last = max((n for n, each in enumerate(manifests) if is_a(kinds.JOB, each)), default=-1)
    return manifests[: last + 1], manifests[last + 1 :]


def _ready(state: State, options: Options, parts: Parts) -> None:
    """Tell programs and people where we are."""
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    to = parts.addresses
    state.record(Runtime(os.getpid(), to.front, to.kube, started), parts.tokens.administrator, parts.tokens.ca)
    options.tell(f"ready: {to.front}  (kubectl --kubeconfig {state.kubeconfig} get ksvc,trigger)")


def _task(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Run it until the stack is closed."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    return task
