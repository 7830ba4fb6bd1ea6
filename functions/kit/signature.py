"""Signatures of events: who wrote one is proved by a key, since no broker forwards credentials. Pure.

The bus and the engine's ledger sign what they send; `kit.trust` verifies what arrives. Functions and engines have
keys of their own: an engine runs other people's models, and one that is taken over must not be able to ask for more.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from functions.kit.events import CloudEvent, EngineStarted, UsageRecorded
from functions.kit.settings import Keys, Secret

# The extension that carries it.
NAME: Final = "signature"
# Everything that we emit, and nobody else.
OWN_TYPES: Final = "dev.torpor."
# What an engine says of itself. Nothing that makes anybody do anything.
_OF_ENGINES: Final = frozenset({UsageRecorded.TYPE, EngineStarted.TYPE})
# Before what is signed, so that the same key never signs the same bytes in another meaning.
_DOMAIN: Final = b"torpor event 1"
# Each part's length goes before it, so that no part can borrow bytes of its neighbour.
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by who signs with them; of each, the first signs and all verify, so that one can follow another."""

    functions: Keys = field(default_factory=lambda: Keys(()))
    engines: Keys = field(default_factory=lambda: Keys(()))

    def sign(self, event: CloudEvent) -> str:
        """The value of `signature` for an event that is about to be sent."""
        return sign(self._keys(event)[0], event)

    def verifies(self, event: CloudEvent) -> bool:
        """Whether a key that may sign events of this type has signed this one as it is."""
        return verify(self._keys(event), event)

    def _keys(self, event: CloudEvent) -> Keys:
        return self.engines if of_engines(event) else self.functions


def of_engines(event: CloudEvent) -> bool:
    """Whether engines write events of this type."""
    return event.type in _OF_ENGINES


def sign(key: Secret, event: CloudEvent) -> str:
    """HMAC-SHA256 of `canonical`, base64url without padding."""
    return base64.urlsafe_b64encode(_mac(key, event)).rstrip(b"=").decode()


def verify(keys: Iterable[Secret], event: CloudEvent) -> bool:
    """Whether one of the keys made the event's signature. Takes the same time wherever a wrong one differs."""
    given = event.extensions.get(NAME, "").encode()
    return any(hmac.compare_digest(sign(key, event).encode(), given) for key in keys)


def canonical(event: CloudEvent) -> bytes:
    """What is signed: the attributes that decide what happens, and the digest of the data.

    Left out is what a broker may add or change on the way: the trace, times, hops and the reasons of dead letters.
    """
    attributes = (
        event.id,
        event.source,
        event.type,
        event.subject,
        event.actor,
        event.extensions.get("modelname", ""),
    )
    parts = [_DOMAIN, *(text.encode() for text in attributes), hashlib.sha256(event.data).digest()]
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)


def _mac(key: Secret, event: CloudEvent) -> bytes:
    return hmac.digest(key.reveal().encode(), canonical(event), "sha256")
