"""A Secret that the setup Job makes once: whoever is first makes it, and everybody uses what it says.

Safe to be killed anywhere and to run twice at once. An operator who wants to choose what it says creates it before.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from functions.kit.kube import Json, KubeError, path

ALREADY_EXISTS: Final = 409
# The Secret can vanish between "it exists" and reading it; more often than this somebody else is fighting us.
ATTEMPTS: Final = 5


class SetupError(Exception):
    """Setup cannot be finished; the message says what to do."""


class SecretStore(Protocol):
    """What setup needs of the Kubernetes API."""

    async def get(self, resource: str) -> Json | None:
        """The object, or None when absent."""

    async def create(self, collection: str, body: Mapping[str, Any]) -> Json:
        """A new object. KubeError 409 when its name is taken."""


async def kept(
    store: SecretStore, namespace: str, name: str, make: Callable[[], Mapping[str, str]]
) -> Mapping[str, str]:
    """The entries of the Secret; made from `make()` unless it is there already. Raises SetupError."""
    for _ in range(ATTEMPTS):
        found = await store.get(path("v1", "secrets", namespace, name))
        if found is not None:
            return _entries(found, name)
        try:
            return _entries(
                await store.create(path("v1", "secrets", namespace), _secret(namespace, name, make())), name
            )
        except KubeError as error:
            if error.status != ALREADY_EXISTS:
                raise
    raise SetupError(f"Secret {name} is created and deleted by somebody else; stop that and run setup again")


def _secret(namespace: str, name: str, entries: Mapping[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "torpor"}},
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in entries.items()},
    }


def _entries(secret: Json, name: str) -> Mapping[str, str]:
    """What it holds, which may be an operator's own text."""
    try:
        return {key: base64.b64decode(text, validate=True).decode() for key, text in (secret.get("data") or {}).items()}
    except (TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise SetupError(f"Secret {name} holds something that is no text") from error
