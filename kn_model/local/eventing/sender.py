"""POSTs one event to one address. Used by the broker's dispatcher and by the sources; decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from kn_model.local.eventing.cloudevent import CloudEvent
from kn_model.local.eventing.delivery import NO_ANSWER, Answer
from kn_model.local.own_deliveries import OwnDeliveries

if TYPE_CHECKING:
    from aiohttp import ClientSession

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
                body = await response.content.read(LARGEST_ANSWER)
                return Answer(response.status, response.headers, body)
        except TimeoutError:
            return Answer(NO_ANSWER, {}, f"no answer within {timeout_s} s".encode())
        except (ClientError, OSError) as error:
            return Answer(NO_ANSWER, {}, str(error).encode())
