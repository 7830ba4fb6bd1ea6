"""Whom a function believes when an event arrives: the Broker of its own namespace, and what one of us has signed.

No token travels with an event. Two things are checked instead, before anything is done:

- `Kn-Namespace`, which Knative's brokers set on every delivery to the Trigger's namespace. It keeps the events of
  another namespace's Broker out; the network policies and the front door see to it that brokers alone get here.
- the signature of events of our own types. Events of Knative's sources (ticks, changes of cluster objects) carry none:
  their handlers take them for hints and look at the truth themselves.

Engines send `usage.recorded` and `engine.started` straight to status where the Broker may forget (docs/decisions/0007). No Broker names a
namespace then, and none has to: the engines' key proves more than the header does.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from functions.kit import signature
from functions.kit.events import CloudEvent
from functions.kit.problem import Forbidden
from functions.kit.signature import Keyring

NAMESPACE_HEADER = "kn-namespace"


class ForeignBroker(Forbidden):
    """The event was not delivered by this namespace's Broker"""


class NotSigned(Forbidden):
    """The event was not written by Torpor"""


@dataclass(frozen=True, slots=True)
class Trust:
    """namespace: the function's own. keyring: what verifies, and signs what the function emits."""

    namespace: str
    keyring: Keyring

    def require_broker(self, headers: Mapping[str, str]) -> None:
        """Raises ForeignBroker (403: straight to the dead letters) unless our own Broker delivers. Case-blind headers."""
        given = headers.get(NAMESPACE_HEADER)
        if given != self.namespace:
            came = f"comes from the namespace {given[:63]!r}" if given else "names no namespace"
            raise ForeignBroker(
                f"the delivery {came}; only a Trigger of the Broker in {self.namespace!r} delivers here. Send the event to "
                "that Broker; if this function runs elsewhere, set TORPOR_NAMESPACE"
            )

    def received(self, event: CloudEvent, headers: Mapping[str, str]) -> CloudEvent:
        """What may be handled of an event that was posted to a function. Case-blind headers.

        Raises ForeignBroker and NotSigned. A header that is there and names another namespace is refused for what engines send too.
        """
        if NAMESPACE_HEADER in headers or not signature.of_engines(event):
            self.require_broker(headers)
        return self.believed(event)

    def believed(self, event: CloudEvent) -> CloudEvent:
        """The event as far as it can be believed: one of Knative's sources acts in nobody's name, whatever it says.

        Raises NotSigned (403: straight to the dead letters) for one of our types that none of us has signed so.
        """
        if not event.type.startswith(signature.OWN_TYPES):
            others = {name: text for name, text in event.extensions.items() if name != "actor"}
            return dataclasses.replace(event, extensions=others)
        if not self.keyring.verifies(event):
            raise NotSigned(
                f"the signature of this {event.type} is missing or wrong: it was made up, changed on its way, or signed "
                "with a key that is no longer in the Secret torpor-events. If it is genuine, ask for the same thing again"
            )
        return event
