"""The Secrets that an installation's pods wait for: which are missing, and which of them can be made up. Pure but for keys.

What only the operator knows (an external database, an external bucket) is never made up.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from kn_model.local import generated_secrets
from kn_model.local.data.s3 import Credentials
from kn_model.local.objects.kinds import Object

# The setup Job makes them; pods wait for it.
LATER: Final = frozenset({"torpor-admin", "torpor-inference"})
# serve gives them to the engines that it makes.
FOR_ENGINES: Final = frozenset({"torpor-s3", "torpor-events"})
# As long as PostgreSQL's scram verifier is strong; letters that no URL has to escape.
_PASSWORD_BYTES: Final = 24
_BUCKET: Final = "models"


def needed(objects: Sequence[Object]) -> set[str]:
    """The Secrets without which a pod of these objects does not start."""
    found = set(FOR_ENGINES)
    for each in objects:
        found |= {name for name, optional in _references(each) if not optional}
    return found - LATER


def _references(value: Any) -> Iterator[tuple[str, bool]]:
    if isinstance(value, Mapping):
        if isinstance(reference := value.get("secretKeyRef"), Mapping):
            yield str(reference["name"]), bool(reference.get("optional"))
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def made(objects: Sequence[Object], present: Collection[str]) -> Mapping[str, Object]:
    """Name -> a new Secret, for each that is needed, not there, and ours to decide."""
    servers = {each["metadata"]["name"] for each in objects if each["kind"] == "StatefulSet"}
    makers = {
        "torpor-auth": generated_secrets.auth,
        "torpor-events": generated_secrets.events,
        **({"torpor-postgres": _postgres} if "postgres" in servers else {}),
        **({"torpor-s3": _s3} if "seaweedfs" in servers else {}),
    }
    return {name: make() for name, make in makers.items() if name in needed(objects) - set(present)}


def _postgres() -> Object:
    """For the component `postgres`: one password, in the server's key and in everybody's URL."""
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    url = f"postgresql://torpor:{quote(password, safe='')}@postgres.torpor.svc.cluster.local:5432/torpor"
    return generated_secrets.with_values("torpor-postgres", {"url": url, "password": password})


def _s3() -> Object:
    """For the component `seaweedfs`: the only identity it knows."""
    return generated_secrets.s3(
        Credentials(
            endpoint="http://seaweedfs.torpor.svc.cluster.local:8333",
            region="us-east-1",  # it has none; clients want one to sign with
            access_key=secrets.token_hex(10).upper(),
            secret_key=secrets.token_urlsafe(_PASSWORD_BYTES),
            bucket=_BUCKET,
        )
    )
