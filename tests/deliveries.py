"""Events as this namespace's Broker delivers them, for tests that post to a function themselves."""

from collections.abc import Mapping
from typing import Final

from functions.kit import events, signature
from functions.kit.settings import Keys, Secret
from functions.kit.signature import Keyring
from functions.kit.trust import Trust

# What a process gets, as the Secret torpor-events would give it.
ENVIRONMENT: Final = {
    "TORPOR_EVENT_KEY": "functions-of-the-tests-sign-with-this",
    "TORPOR_ENGINE_EVENT_KEY": "engines-of-the-tests-sign-with-this-one",
}
FUNCTION_KEYS: Final = Keys((Secret(ENVIRONMENT["TORPOR_EVENT_KEY"]),))
ENGINE_KEYS: Final = Keys((Secret(ENVIRONMENT["TORPOR_ENGINE_EVENT_KEY"]),))
KEYRING: Final = Keyring(FUNCTION_KEYS, ENGINE_KEYS)
TRUST: Final = Trust("torpor", KEYRING)


def delivered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an event that is signed already, or needs no signature, on its last hop."""
    return {**headers, "Kn-Namespace": TRUST.namespace}


def signed(headers: Mapping[str, str], data: bytes) -> dict[str, str]:
    """Likewise, of an event that a test made: signed with the key that its type asks for."""
    return delivered({**headers, f"ce-{signature.NAME}": KEYRING.sign(events.parse(headers, data))})
