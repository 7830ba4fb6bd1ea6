"""What the Broker's answer to an event means for its sender, over real HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from functions.kit.publisher import HttpPublisher, PublishError, Unacceptable
from kn_model.local import listener

Answering = Callable[[int], Awaitable[HttpPublisher]]


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    """Makes a publisher to a Broker that always answers with one status."""
    opened: list[Callable[[], Awaitable[None]]] = []

    async def make(status: int) -> HttpPublisher:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, text="because\x00")

        broker = web.Application()
        broker.router.add_post("/", answer)
        runner = await listener.listen(broker, 0)
        publisher = HttpPublisher(f"http://127.0.0.1:{listener.port_of(runner)}/")
        opened.extend((runner.cleanup, publisher.close))
        return publisher

    yield make
    for close in reversed(opened):
        await close()


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_taken(answering: Answering, status: int) -> None:
    """The event is the Broker's."""
    await (await answering(status))({"ce-id": "1"}, b"{}")


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(answering: Answering, status: int) -> None:
    """A Broker that is not there, not ready, or does not know us says nothing about the event."""
    with pytest.raises(PublishError) as caught:
        await (await answering(status))({"ce-id": "1"}, b"{}")
    assert not isinstance(caught.value, Unacceptable)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_what_is_said_of_the_event_is_final(answering: Answering, status: int) -> None:
    """The reason is the Broker's own, as PostgreSQL can keep it."""
    with pytest.raises(Unacceptable) as caught:
        await (await answering(status))({"ce-id": "1"}, b"{}")
    assert (status, f"the Broker answered {status}: because") == (caught.value.status, str(caught.value))
