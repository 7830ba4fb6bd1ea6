"""The API key with which serve asks models: of a user of its own, made by the setup Job, kept in a Secret.

Its user cannot log in. To replace the key, delete the Secret and run setup again: the old one is revoked then.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from functions.auth.kept import SecretStore, SetupError, kept
from functions.auth.passwords import Passwords
from functions.kit import apikey
from functions.kit.db import Database, queries
from functions.kit.identity import ACTIONS_OF_ROLE, SERVICE

SQL = queries(__file__)
SECRET_NAME: Final = "torpor-inference"  # noqa: S105  # its name, not its value
ENTRY: Final = "api-key"
USERNAME: Final = "torpor-serve"


async def ensure_service_key(db: Database, store: SecretStore, namespace: str, passwords: Passwords) -> None:
    """Make the user and the key that the Secret says, if they are not there. Raises SetupError."""
    key = _read(await kept(store, namespace, SECRET_NAME, _new))
    await _ensure_user(db, passwords)
    async with db.transaction() as connection:
        actions = sorted(ACTIONS_OF_ROLE[SERVICE])
        await connection.execute(SQL.keep_key, apikey.key_id(key), apikey.digest(key), "serve", USERNAME, actions)
        await connection.execute(SQL.revoke_other_keys, USERNAME, apikey.key_id(key))
        stored = await connection.fetchrow(SQL.find_key, apikey.key_id(key))
    if stored is None or stored["key_sha256"] != apikey.digest(key) or stored["username"] != USERNAME:
        raise SetupError(f"the key in Secret {SECRET_NAME} is revoked; delete the Secret and run setup again")


async def _ensure_user(db: Database, passwords: Passwords) -> None:
    role = await db.fetchval(SQL.role_of, USERNAME, None)
    if role is None:
        with passwords.turn() as turn:
            nobodys = await turn.hash(secrets.token_urlsafe())
        await db.fetchrow(SQL.add_user, USERNAME, nobodys, SERVICE)
        role = await db.fetchval(SQL.role_of, USERNAME, None)
    if role != SERVICE:
        raise SetupError(
            f"user {USERNAME} is somebody else's ({role}); that name is serve's own: delete or rename the user"
        )


def _new() -> Mapping[str, str]:
    return {ENTRY: apikey.generate()}


def _read(entries: Mapping[str, str]) -> str:
    key = entries.get(ENTRY, "")
    if not apikey.well_formed(key):
        raise SetupError(f"Secret {SECRET_NAME} needs the entry {ENTRY} with an API key; delete it to have one made")
    return key
