"""API keys in the database: made by a logged-in user, shown once, kept as a digest, never wider than their maker.

`identity` is also what the verifier asks (`kit.identity.ApiKeySource`): one row by the key's public id, then a
comparison in constant time. Revoking works at once here, and within the 30 s that others keep a verdict elsewhere.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from functions.auth import names
from functions.kit import apikey
from functions.kit.db import Database, queries
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.problem import Conflict, Forbidden, NotFound

SQL = queries(__file__)
Action = Literal["infer", "read", "operate", "admin"]
# A user with more than these has lost count of them.
MAX_KEYS: Final = 100
MAX_MODELS: Final = 100
# A key that nobody renews within a year is one that nobody remembers.
MAX_DAYS: Final = 365
DEFAULT_DAYS: Final = 90
_KEY_ID: Final = re.compile(rf"[0-9A-Za-z]{{{apikey.ID_LENGTH}}}")


class KeyNotFound(NotFound):
    """There is no such API key"""


class TooManyKeys(Conflict):
    """The user has too many API keys"""


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /auth/keys`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
    models: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_MODELS)] = msgspec.field(
        default_factory=lambda: ["*"]
    )
    actions: Annotated[list[Action], msgspec.Meta(min_length=1, max_length=4)] = msgspec.field(
        default_factory=lambda: ["infer"]
    )
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS


class Key(msgspec.Struct):
    """A key as lists show it."""

    id: str
    name: str
    username: str
    models: list[str]
    actions: list[str]
    created_at: datetime
    expires_at: datetime


class CreatedKey(Key, kw_only=True):
    """The answer to `POST /auth/keys`: the only time that `key` is shown."""

    key: str


class ApiKeys:
    """The table `api_keys`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, who: Identity, new: NewKey) -> CreatedKey:
        """A new key of `who`. Raises Forbidden when it would be wider than `who`, TooManyKeys."""
        _stay_within(who, new)
        key = apikey.generate()
        row = await self._db.fetchrow(
            SQL.add_key,
            apikey.key_id(key),
            apikey.digest(key),
            new.name,
            who.subject,
            names.models(new.models),
            sorted(set(new.actions)),
            new.expires_in_days,
            MAX_KEYS,
        )
        if row is None:
            raise TooManyKeys(f"{who.subject} has {MAX_KEYS} keys; revoke one first")
        return CreatedKey(**row, key=key)

    async def owned_by(self, username: str) -> list[Key]:
        """The user's keys that are not revoked, oldest first."""
        return [Key(**row) for row in await self._db.fetch(SQL.list_keys, username)]

    async def revoke(self, who: Identity, key_id: str) -> None:
        """Revoke a key of `who`, or anybody's for an admin. Raises KeyNotFound, also for somebody else's key."""
        known = _KEY_ID.fullmatch(key_id)
        if not known or await self._db.fetchval(SQL.revoke_key, key_id, who.subject, "admin" in who.actions) is None:
            raise KeyNotFound("there is no such key of yours")

    async def identity(self, key: str) -> Identity | None:
        """See ApiKeySource. `key` is well formed: the verifier has checked form and checksum."""
        row = await self._db.fetchrow(SQL.find_key, apikey.key_id(key))
        if row is None or not hmac.compare_digest(row["key_sha256"], apikey.digest(key)):
            return None
        return _identity(row)


def _identity(row: Mapping[str, Any]) -> Identity:
    """The key's identity: its actions, as far as its owner's role of this moment has them."""
    allowed = ACTIONS_OF_ROLE[row["role"]]
    return Identity(
        subject=row["username"],
        role=row["role"],
        models=tuple(row["models"]),
        actions=tuple(action for action in allowed if action in row["actions"]),
        expires_at=row["expires_at"].timestamp(),
        key_id=row["id"],
    )


def _stay_within(who: Identity, new: NewKey) -> None:
    if who.key_id is not None:
        raise Forbidden("an API key cannot make API keys, or an expiring one could live for ever; log in first")
    for action in new.actions:
        if action not in who.actions:
            raise Forbidden(f"{who.subject} may not {action}, and so cannot make a key that may")
    for model in new.models:
        if not who.allows_model(model):
            raise Forbidden(f"{who.subject} may not use {model}, and so cannot make a key that may")
