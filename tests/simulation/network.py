"""The network of the simulation: calls between processes that are late, doubled, cut before or after their effect.

`Wire` is what a client holds; `sender` and `publisher` wear its shape as the product's own `Send` and HTTP session.
A host is a name with instances; a call goes to any instance that lives.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import NO_ANSWER, Answer
from tests.simulation.loop import Process, outside

# One way, seconds: most are quick, some are not, which is also what puts messages out of order.
QUICK_S: Final = 0.003
SLOW_S: Final = 3.0
SLOW_RATE: Final = 0.03
DOUBLED_LATER_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as an instance gets it. Header names are lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


Serve = Callable[[Call], Coroutine[Any, Any, Answer]]


@dataclass
class Instance:
    """A process that answers calls; `waiting` are the clients that it has not answered."""

    process: Process
    serve: Serve
    waiting: dict[int, "asyncio.Future[Answer]"] = field(default_factory=dict)


@dataclass
class Network:
    """Rates are per call: lost before the effect, answer lost after it, doubled."""

    random: Random
    lost: float = 0.0
    answer_lost: float = 0.0
    doubled: float = 0.0
    slow: float = SLOW_RATE
    hosts: dict[str, list[Instance]] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    _calls: int = 0

    def join(self, host: str, process: Process, serve: Serve) -> None:
        """An instance of a host from now on, until its process dies."""
        instance = Instance(process, serve)
        self.hosts.setdefault(host, []).append(instance)
        process.at_death(lambda: self._leave(host, instance))

    async def call(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float | None) -> Answer:
        """The answer. Raises what aiohttp raises: ClientConnectionError, ServerDisconnectedError, TimeoutError."""
        split = urlsplit(url)
        call = Call(split.path, headers, body)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        chance, context = self.random.random(), outside()
        if chance < self.lost:
            answered.set_exception(aiohttp.ClientConnectionError("the connection was refused"))
        else:
            loop.call_later(self._way(), self._arrive, str(split.hostname), call, answered, context=context)
            if self.random.random() < self.doubled:
                later = self._way() + self.random.random() * self.random.choice((0.01, DOUBLED_LATER_S))
                again = loop.create_future()
                loop.call_later(later, self._arrive, str(split.hostname), call, again, context=context)
        async with asyncio.timeout(timeout_s):
            return await answered

    def _way(self) -> float:
        return self.random.random() * (SLOW_S if self.random.random() < self.slow else QUICK_S)

    def _arrive(self, host: str, call: Call, answered: "asyncio.Future[Answer]") -> None:
        instances = self.hosts.get(host)
        if not instances or host in self.cut_off:
            _fail(answered, aiohttp.ClientConnectionError(f"nobody listens at {host}"))
            return
        instance = self.random.choice(instances)
        self._calls += 1
        number = self._calls
        instance.waiting[number] = answered
        task = instance.process.spawn(instance.serve(call))
        task.add_done_callback(lambda done: self._answer(instance, number, done), context=outside())

    def _answer(self, instance: Instance, number: int, done: "asyncio.Task[Answer]") -> None:
        answered = instance.waiting.pop(number, None)
        if answered is None or done.cancelled():
            return
        if self.random.random() < self.answer_lost:
            _fail(answered, aiohttp.ServerDisconnectedError())
        else:
            asyncio.get_running_loop().call_later(self._way(), _give, answered, done.result(), context=outside())

    def _leave(self, host: str, instance: Instance) -> None:
        self.hosts[host].remove(instance)
        for answered in instance.waiting.values():
            _fail(answered, aiohttp.ServerDisconnectedError())
        instance.waiting.clear()


def _give(answered: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


def _fail(answered: "asyncio.Future[Answer]", error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)
        answered.exception()  # a doubled call has nobody who looks


@dataclass(frozen=True, slots=True)
class Sending:
    """The broker's `Send`: a delivery to a subscriber."""

    network: Network

    async def __call__(
        self, url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """What the address answered; status 0 when it did not."""
        try:
            return await self.network.call(url, plain({**headers, **event.headers()}), event.data or b"", timeout_s)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Answer(NO_ANSWER, {}, str(error).encode())


@dataclass(frozen=True, slots=True)
class Web:
    """As much of aiohttp's ClientSession as `HttpPublisher` uses."""

    network: Network
    timeout_s: float

    def post(self, url: str, *, data: bytes, headers: Mapping[str, str], allow_redirects: bool) -> "_Exchange":
        """One POST, as an asynchronous context. Nobody here redirects."""
        assert not allow_redirects
        return _Exchange(self, url, data, headers)


@dataclass(slots=True)
class _Exchange:
    web: Web
    url: str
    data: bytes
    headers: Mapping[str, str]

    async def __aenter__(self) -> "_Response":
        return _Response(await self.web.network.call(self.url, self.headers, self.data, self.web.timeout_s))

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class _Response:
    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    async def text(self, errors: str) -> str:
        return self.answer.body.decode(errors=errors)


def plain(headers: Any) -> dict[str, str]:
    """Headers with names in lower case."""
    return {str(name).lower(): str(text) for name, text in headers.items()}
