"""The Broker: takes events over HTTP, keeps them until every Trigger that wants them has had them.

Called by the front door (`ingress`) and the supervisor (`run`). Source of the behaviour: Knative Eventing 1.23,
`pkg/broker/ingress` and `pkg/broker/filter` (the multi-tenant channel broker), but durable.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kn_model.local.addresses import Addresses
from kn_model.local.eventing.cloudevent import CloudEvent, NotACloudEvent, parse
from kn_model.local.eventing.delivery import Delivered, passed_on
from kn_model.local.eventing.dispatcher import Dispatcher
from kn_model.local.eventing.ledger import Accepted, Claimed, Ledger, LedgerDown
from kn_model.local.eventing.sender import Send
from kn_model.local.eventing.status import show
from kn_model.local.eventing.subscriptions import Table, broker_of, key, subscription, table
from kn_model.local.eventing.worker import ReplyRefused
from kn_model.local.follow import on_change
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Object
from kn_model.local.objects.store import ObjectStore

if TYPE_CHECKING:
    from aiohttp import web

# The TTL of an event that comes without one (`cmd/broker/ingress`); each reply takes one off (`pkg/broker/ttl.go`).
MAX_TTL: Final = 255
LARGEST_TTL: Final = 2**31 - 1
TTL: Final = "knativebrokerttl"
ARRIVAL: Final = "knativearrivaltime"
# Events are to stay under 64 KiB; Kafka's broker refuses above this one.
LARGEST_EVENT: Final = 1_048_576
RETRY_AFTER_S: Final = 2
ALLOW: Final = {"allow": "POST, OPTIONS"}
# CloudEvents' webhook handshake, open to all (`pkg/broker/ingress/ingress_handler.go`).
PREFLIGHT: Final = {**ALLOW, "webhook-allowed-origin": "*", "webhook-allowed-rate": "*"}
USED_UP: Final = f"the event's {TTL} is used up"

_INTEGER: Final = re.compile(r"[+-]?\d{1,10}")

_LOG = logging.getLogger(__name__)


class Broker:
    """All Brokers of the store, whatever their namespace."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: Ledger,
        send: Send,
        addresses: Addresses,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """now: the wall clock, which stamps arrivals."""
        self._store = store
        self._ledger = ledger
        self._addresses = addresses
        self._now = now
        self._dispatcher = Dispatcher(ledger, send, self._reply, now)
        self._table: Table = {}
        self._opened = False
        self._alone = False

    async def open(self, *, alone: bool) -> None:
        """Take up what an earlier run was owed; from here on events are accepted. LedgerDown.

        alone: no other process dispatches from this database (it is our own server).
        """
        self._alone = alone
        await self._ledger.open(alone=alone)
        await self.refresh()
        self._opened = True

    async def run(self) -> None:
        """Follow Brokers and Triggers and deliver, until cancelled. Call it after `open`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(on_change(self._store, (kinds.BROKER, kinds.TRIGGER), self.refresh))
                tasks.create_task(self._dispatcher.run(alone=self._alone))
        finally:
            await self._dispatcher.stop()

    async def refresh(self) -> None:
        """Work from the Brokers and Triggers as they are now, and say so in their status."""
        brokers, triggers = self._store.list(kinds.BROKER), self._store.list(kinds.TRIGGER)
        self._table = table(brokers, triggers, self._addresses)
        await self._dispatcher.serve(each for row in self._table.values() for each in row)
        for broker in brokers:
            await self._show_broker(broker)
        named = {key(broker): broker for broker in brokers}
        for trigger in triggers:
            await self._show_trigger(trigger, named.get(broker_of(trigger)))

    async def ingress(self, request: "web.Request", path: str) -> "web.Response":
        """`POST /<namespace>/<name>` (`path`) of the broker's ingress: 202 once the event is kept."""
        from aiohttp import web

        if request.method == "OPTIONS":
            return web.Response(headers=PREFLIGHT)
        if request.method != "POST":
            return web.Response(status=405, headers=ALLOW)
        if path == "/":
            return web.Response(status=404)
        if not self._opened:  # which Brokers there are is not known yet
            return web.Response(status=503, headers={"retry-after": str(RETRY_AFTER_S)})
        body = await request.content.read(LARGEST_EVENT + 1)
        while len(body) <= LARGEST_EVENT and (more := await request.content.read(LARGEST_EVENT + 1 - len(body))):
            body += more
        if len(body) > LARGEST_EVENT:
            return web.Response(status=413, text=f"an event has at most {LARGEST_EVENT} bytes\n")
        return await self._take(path.removesuffix("/").split("/"), request.headers, body)

    async def _take(self, path: Sequence[str], headers: Mapping[str, str], body: bytes) -> "web.Response":
        """The order of the checks is Knative's (`pkg/broker/ingress/ingress_handler.go`, ServeHTTP)."""
        from aiohttp import web

        if len(path) != 3:  # noqa: PLR2004 - nothing, namespace, name
            return web.Response(status=400, text="the path is /<namespace>/<broker>\n")
        broker = "/".join(path[1:])
        try:
            event = parse(headers, body)
            if broker not in self._table:
                return web.Response(status=404, text=f"no Broker {broker}\n")
            await self.accept(broker, event.without(TTL), _ttl(event), passed_on(headers))
        except NotACloudEvent as error:
            return web.Response(status=400, text=f"{error}\n")
        except LedgerDown as error:
            _LOG.warning("an event was not accepted, PostgreSQL does not answer: %s", error)
            return web.Response(status=503, headers={"retry-after": str(RETRY_AFTER_S)})
        return web.Response(status=202)

    async def accept(self, broker: str, event: CloudEvent, hops: int, headers: Mapping[str, str]) -> None:
        """Keep the event for each Trigger that wants it, and deliver it. LedgerDown when it cannot be kept.

        hops: its TTL. headers: of HTTP, that go on with it.
        """
        stamped = event.having(**{ARRIVAL: self._now().astimezone(UTC).isoformat().replace("+00:00", "Z")})
        triggers = [each.key for each in self._table.get(broker, ()) if each.wants(stamped.attributes)]
        if not triggers:
            return  # accepted and nobody's: as on a cluster, it is gone
        await self._dispatcher.accept(Accepted(stamped, triggers, hops, headers))

    async def _reply(self, broker: str, answer: Delivered, claimed: Claimed) -> None:
        """A reply carries on the TTL of what it answers, whatever it says itself (`filter_handler.go`, writeResponse)."""
        if claimed.hops <= 1:
            raise ReplyRefused(USED_UP)
        if answer.reply is not None:
            await self.accept(broker, answer.reply.without(TTL), claimed.hops - 1, answer.headers)

    async def _show_broker(self, broker: Object) -> None:
        metadata = broker["metadata"]
        url = self._addresses.broker(metadata["namespace"], metadata["name"])
        await show(self._store, kinds.BROKER, broker, {"Addressable": ""}, {"address": {"url": url}})

    async def _show_trigger(self, trigger: Object, broker: Object | None) -> None:
        if broker is None:
            problem = f"Broker {trigger['spec']['broker']} does not exist"
            await show(self._store, kinds.TRIGGER, trigger, {"BrokerReady": problem}, {})
            return
        found = subscription(broker, trigger, self._addresses)
        addresses = {"subscriberUri": found.subscriber, "deadLetterSinkUri": found.dead_letter}
        shown = {name: url for name, url in addresses.items() if url}
        await show(self._store, kinds.TRIGGER, trigger, {"BrokerReady": "", "SubscriberResolved": ""}, shown)


def _ttl(event: CloudEvent) -> int:
    """The TTL that an event goes on with (`pkg/broker/ttl.go`, TTLDefaulter). NotACloudEvent when it is used up."""
    text = event.attributes.get(TTL, "")
    if not _INTEGER.fullmatch(text) or abs(int(text)) > LARGEST_TTL:
        return MAX_TTL
    if int(text) <= 1:
        raise NotACloudEvent(USED_UP)
    return int(text) - 1
