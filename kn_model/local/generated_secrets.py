"""The Secrets that an operator makes on a cluster and the runtime makes on a laptop. Pure but for the random keys.

Called by the supervisor before anything else is applied, and by `task deploy` (kn_model/cluster).
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kn_model.local.data.s3 import Credentials
from kn_model.local.objects.kinds import Object

NAMESPACE: Final = "torpor"
# As long as the digest that the keys are for.
_KEY_BYTES: Final = 32
# Whatever lacks it was put there by a person, and stays as it is.
GENERATED: Final = {"app.kubernetes.io/managed-by": "kn-model"}


def namespace() -> Object:
    """Where they live; the manifests may say more about it later."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def postgres(url: str) -> Object:
    """How functions reach the database. Made true at every start."""
    return with_values("torpor-postgres", {"url": url})


def s3(to: Credentials) -> Object:
    """How functions reach the bucket. Made true at every start."""
    return with_values(
        "torpor-s3",
        {
            "endpoint": to.endpoint,
            "region": to.region,
            "bucket": to.bucket,
            "access-key": to.access_key,
            "secret-key": to.secret_key,
            **({"status-url": to.status_url} if to.status_url else {}),
        },
    )


def auth() -> Object:
    """A new key that signs tokens: made once, since another one would log everybody out."""
    return with_values(
        "torpor-auth", {"signing-keys": json.dumps({"keys": [private_jwk(Ed25519PrivateKey.generate())]})}
    )


def events() -> Object:
    """New keys that sign events: made once, since what other keys have signed would no longer be believed."""
    return with_values("torpor-events", {name: secrets.token_urlsafe(_KEY_BYTES) for name in ("functions", "engines")})


def private_jwk(key: Ed25519PrivateKey) -> Mapping[str, str]:
    """An Ed25519 key as RFC 8037 writes it, named by its RFC 7638 thumbprint."""
    x = _base64url(key.public_key().public_bytes_raw())
    required = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"))
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": _base64url(hashlib.sha256(required.encode()).digest()),
        "x": x,
        "d": _base64url(key.private_bytes_raw()),
    }


def is_generated(secret: Object) -> bool:
    """Whether the runtime made this Secret and may change it."""
    labels = secret["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in GENERATED.items())


def with_values(name: str, values: Mapping[str, str]) -> Object:
    """A Secret of ours in the namespace of the manifests."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": NAMESPACE, "name": name, "labels": dict(GENERATED)},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
