"""Names of servers: one word that is a Knative Service, a host name and a path segment at once. Pure."""

import re
import secrets
from typing import Final

from functions.serve.problems import BadName

# 63 is DNS's limit for a label; Knative prefixes tags (`candidate-`) and appends `-00001-deployment`.
MAX_LENGTH: Final = 40
# The functions' own Knative Services live in the same namespace.
RESERVED: Final = frozenset({"auth", "download", "serve", "status"})
_TAGGED: Final = "candidate-"
_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_OTHER: Final = re.compile(r"[^a-z0-9-]+")


def check(name: str) -> str:
    """Answer `name` as it is. Raises BadName unless it is a DNS-1035 label of at most MAX_LENGTH and not reserved.

    A server `candidate-x` would have the host name at which a rollout of `x` is asked its prompt.
    """
    if not _DNS_1035.fullmatch(name) or len(name) > MAX_LENGTH:
        raise BadName(
            f"{name[:80]!r} is no name for a server: lower-case letters, digits and '-', a letter first, "
            f"no '-' last, at most {MAX_LENGTH} characters"
        )
    if name in RESERVED:
        raise BadName(f"{name!r} is one of Torpor's own functions; choose another name")
    if name.startswith(_TAGGED):
        raise BadName(f"{name!r} would be the address of a rollout's candidate; choose a name that begins otherwise")
    return name


def usable(name: str | None, model_name: str) -> str:
    """`name` where it can be one, else the default name of the model's server."""
    try:
        return check(name or "")
    except BadName:
        return from_model(model_name)


def spare(name: str) -> str:
    """Another name, for a record that cannot have `name`: nobody else has it."""
    suffix = f"-{secrets.token_hex(4)}"
    return name[: MAX_LENGTH - len(suffix)] + suffix


def from_model(model_name: str) -> str:
    """The default name of a model's server. Always passes `check`."""
    word = _OTHER.sub("-", model_name.lower()).strip("-")
    if not word[:1].isalpha() or word in RESERVED or word.startswith(_TAGGED):
        word = f"model-{word}"
    return word[:MAX_LENGTH].strip("-")
