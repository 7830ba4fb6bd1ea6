"""POSTs one event to one address. Used by the broker's dispatcher and by the sources; decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import NO_ANSWER, Answer
from kn_model.local.own_deliveries import OwnDeliveries

if TYPE_CHECKING:
    from aiohttp import ClientSession, StreamReader

# A reply is an event, and an event is at most this long here; the rest of a longer body is not read.
LARGEST_ANSWER: Final = 1_048_576


class Send(Protocol):
    """Takes an event to an address; never raises for the address's sake."""

    async def __call__(
        self, url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """What the address answered. headers: besides the event's own."""
        ...


@dataclass(frozen=True, slots=True)
class HttpSend:
    """Sends over HTTP in binary mode."""

    session: "ClientSession"
    own: OwnDeliveries

    async def __call__(
        self, url: str, event: CloudEvent, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """What the address answered; status 0, with the reason as body, when it did not. Redirects are not followed.

        Without a timeout the subscriber may take as long as it likes, as on a cluster.
        """
        from aiohttp import ClientError, ClientTimeout

        try:
            async with self.session.post(
                url,
                data=event.data or b"",
                headers={**headers, **event.headers(), **self.own.proof(url), "prefer": "reply"},
                timeout=ClientTimeout(total=timeout_s),
                allow_redirects=False,
                skip_auto_headers=("content-type",),
            ) as response:
                return Answer(response.status, response.headers, await whole(response.content))
        except TimeoutError:
            return no_answer_within(timeout_s)
        except (ClientError, OSError) as error:
            return Answer(NO_ANSWER, {}, str(error).encode())


async def whole(body: "StreamReader") -> bytes:
    """All of a body, however many pieces it comes in; LARGEST_ANSWER bytes at most."""
    read = b""
    while len(read) < LARGEST_ANSWER and (more := await body.read(LARGEST_ANSWER - len(read))):
        read += more
    return read


def no_answer_within(timeout_s: float | None) -> Answer:
    """What the dead letter sink is told of a subscriber that was too slow."""
    return Answer(NO_ANSWER, {}, f"no answer within {timeout_s} s".encode())
