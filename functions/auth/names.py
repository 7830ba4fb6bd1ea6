"""What a user, a key and a model may be called: checked where a name enters, so that it is safe in SQL, headers, logs."""

import re
from typing import Final

from functions.kit.problem import BadRequest

# Lower case, so that "Ada" and "ada" are one; fits an e-mail address and a header. 64 characters.
_USERNAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?")
# Hub names ("owner/model"), server names and tags; no comma, because a header lists them with commas.
_MODEL: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}")


class UnusableName(BadRequest):
    """The name cannot be used"""


def fold(username: str) -> str:
    """The one spelling of a user's name."""
    return username.lower()


def is_username(text: str) -> bool:
    """Whether a user may have this name."""
    return _USERNAME.fullmatch(text) is not None


def username(text: str) -> str:
    """The name for a new user. Raises UnusableName."""
    if not is_username(fold(text)):
        raise UnusableName(
            "a user name is 1 to 64 letters, digits and . _ @ + -, starting and ending with one of the first"
        )
    return fold(text)


def models(names: list[str]) -> list[str]:
    """The models that a key is for, `*` for all. Raises UnusableName."""
    for name in names:
        if not _MODEL.fullmatch(name):
            raise UnusableName(f"{name[:80]!r} is neither a model's name nor *")
    return names
