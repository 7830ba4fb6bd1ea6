"""How the front door tells the runtime's own deliveries from calls that merely claim to be one.

Knative's brokers and sources say in `Kn-Namespace` whose Trigger or source an event comes from (eventing 1.23
`pkg/broker/filter/filter_handler.go`, `pkg/adapter/v2/cloudevents.go`), and functions refuse events without it or of
another namespace. Whatever else calls through the front door must not say so. The broker shares the door's process:
what it sends through a socket proves itself with a token that this process made up and that is sent nowhere else.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NAMESPACE: Final = "Kn-Namespace"
PROOF: Final = "Torpor-Delivery-Proof"
_PROOF_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class OwnDeliveries:
    """`front` is the door's own address, the only place that the token is sent to."""

    front: str
    _token: str = field(default_factory=lambda: secrets.token_urlsafe(_PROOF_BYTES), repr=False)

    def proof(self, url: str) -> Mapping[str, str]:
        """The header that makes the door believe what a delivery to `url` says; none for other addresses."""
        return {PROOF: self._token} if url.startswith(f"{self.front}/") else {}

    def namespace(self, headers: Mapping[str, str]) -> str | None:
        """The namespace that a call at the door comes from; None when it is not one of our own deliveries."""
        # Headers that are no UTF-8 hold lone surrogates.
        given = headers.get(PROOF, "").encode(errors="surrogateescape")
        return headers.get(NAMESPACE) if hmac.compare_digest(given, self._token.encode()) else None
