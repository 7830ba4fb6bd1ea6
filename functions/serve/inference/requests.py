"""What callers send to `POST /inference`, read and checked. Pure."""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from functions.kit.problem import BadRequest, Unprocessable

DEFAULT_PATH: Final = "/v1/chat/completions"
# Standard Webhooks, «Signature scheme»: 24 to 64 random bytes, as base64 behind this prefix.
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what secrets start with
SECRET_BYTES: Final = range(24, 65)
# A week: what is wanted later than that is a job for a calendar.
MAX_DEADLINE_S: Final = 7 * 86_400
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class NoIdempotencyKey(BadRequest):
    """The Idempotency-Key header is missing or cannot be used"""


class NotAsynchronous(Unprocessable):
    """This cannot be asked asynchronously"""


class Callback(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell when it is over. secret: `whsec_` and base64, as Standard Webhooks has it; without one it is not signed."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    secret: Annotated[str, Meta(max_length=100)] = ""

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400; never with the secret in it."""
        if self.secret and signing_key(self.secret) is None:
            raise ValueError(
                f"callback.secret is {SECRET_PREFIX} and {SECRET_BYTES.start} to {SECRET_BYTES[-1]} bytes as base64"
            )


class InferenceRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /inference`. model: of a model or a server; server: of a server. One of the two. body: what the path takes."""

    body: dict[str, Any]
    model: Name | UnsetType = UNSET
    server: Name | UnsetType = UNSET
    path: Annotated[str, Meta(max_length=255)] = DEFAULT_PATH
    callback: Callback | None = None
    deadline_s: Annotated[int, Meta(ge=1, le=MAX_DEADLINE_S)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400."""
        if (self.model is UNSET) == (self.server is UNSET):
            raise ValueError("name either a model or a server")

    @property
    def fingerprint(self) -> str:
        """Of everything that was asked: equal for equal requests, however they were written."""
        document = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(document).hexdigest()

    def body_for(self, server: str) -> bytes:
        """The body for the model, with its name where none is given. Raises NotAsynchronous for a stream."""
        if self.body.get("stream"):
            raise NotAsynchronous("an answer that is kept is no stream: leave `stream` out")
        return msgspec.json.encode({"model": server, **self.body})


def idempotency_key(headers: Sequence[str]) -> str:
    """The one Idempotency-Key. Raises NoIdempotencyKey: without it, a repeated request would be asked and paid for twice."""
    if len(headers) != 1 or not _KEY.fullmatch(headers[0]):
        raise NoIdempotencyKey(
            "send one Idempotency-Key header of 1 to 255 visible ASCII characters, such as a new UUID; the same key again "
            "is the same request"
        )
    return headers[0]


def require_path(path: str, served: Sequence[str]) -> None:
    """Raise NotAsynchronous unless the server's runtime takes POSTs there."""
    if path not in served:
        raise NotAsynchronous(f"{path[:80]!r} is no path of this server; it has {', '.join(served)}")


def signing_key(secret: str) -> bytes | None:
    """The bytes of a webhook's secret; None for what is none."""
    if not secret.startswith(SECRET_PREFIX):
        return None
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) in SECRET_BYTES else None
