"""The way of an event to the Broker, as bad as a network can be: delayed, doubled, doubled late, cut before and after.

The harness's own senders call `deliver`; functions and engines come through the proxy, whose address is the Broker's in
the manifests of the run.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from kn_model.local import ports

INGRESS: Final = "/_svc/knative-eventing/broker-ingress/torpor/default"
# What happens to one event in so many of a hundred; the rest goes straight through.
PERCENT: Final[Mapping[str, float]] = {
    "delayed": 4,
    "doubled": 4,
    "doubled late": 2,
    "cut before": 2.5,
    "cut after": 2.5,
}
LONGEST_DELAY_S: Final = 2.0
LATEST_DOUBLE_S: Final = 15.0
TIMEOUT: Final = ClientTimeout(total=15)
_PASSED_ON: Final = ("ce-", "content-type", "traceparent", "tracestate")


class Cut(Exception):
    """The connection broke; the event may have been accepted or not."""


class Wire:
    """Events to the ingress at `front`. `calm` ends the mischief."""

    def __init__(self, front: str, chance: random.Random, session: ClientSession) -> None:
        self._url = f"{front}{INGRESS}"
        self._chance = chance
        self._session = session
        self._late: set[asyncio.Task[None]] = set()
        self.calm = False
        self.done: Counter[str] = Counter()

    async def deliver(self, headers: Mapping[str, str], body: bytes) -> int:
        """The ingress's status. Raises Cut."""
        what = self._fate()
        if what == "delayed":
            await asyncio.sleep(self._chance.random() * LONGEST_DELAY_S)
        elif what == "cut before":
            raise Cut(what)
        elif what == "doubled late":
            self._later(headers, body)
        elif what == "doubled":
            first, second = await asyncio.gather(
                self._post(headers, body), self._post(headers, body), return_exceptions=True
            )
            return _either(first, second)
        status = await self._post(headers, body)
        if what == "cut after":
            raise Cut(what)
        return status

    async def quiet(self) -> None:
        """End the mischief, and wait for what comes late."""
        self.calm = True
        await asyncio.gather(*self._late)

    def _fate(self) -> str:
        rolled = self._chance.random() * 100
        for what, percent in PERCENT.items():
            rolled -= percent
            if rolled < 0 and not self.calm:
                self.done[what] += 1
                return what
        return ""

    def _later(self, headers: Mapping[str, str], body: bytes) -> None:
        task = asyncio.create_task(self._once_more(headers, body, self._chance.uniform(0.5, LATEST_DOUBLE_S)))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _once_more(self, headers: Mapping[str, str], body: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            await self._post(headers, body)
        except Cut:
            self.done["doubled late, and lost"] += 1

    async def _post(self, headers: Mapping[str, str], body: bytes) -> int:
        try:
            async with self._session.post(self._url, data=body, headers=dict(headers), timeout=TIMEOUT) as answer:
                return answer.status
        except (ClientError, OSError, TimeoutError) as error:
            raise Cut(type(error).__name__) from error


def _either(first: int | BaseException, second: int | BaseException) -> int:
    """What the sender hears of a doubled delivery: any of the two answers, the better first."""
    statuses = [each for each in (first, second) if isinstance(each, int)]
    if not statuses:
        raise Cut("doubled and lost")
    return min(statuses)


@asynccontextmanager
async def proxy(wire: Wire, port: int) -> AsyncIterator[None]:
    """Listen for functions and engines while the block runs."""

    async def take(request: web.Request) -> web.Response:
        passed = {name: value for name, value in request.headers.items() if name.lower().startswith(_PASSED_ON)}
        try:
            return web.Response(status=await wire.deliver(passed, await request.read()))
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, ports.LOOPBACK, port).start()
        yield
    finally:
        await runner.cleanup()
