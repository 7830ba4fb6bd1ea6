"""`python -m functions.auth.setup`: the Job that brings the schema up to date and makes the first admin and serve's own key.

Safe to run again, to be killed anywhere and to run twice at once: the Secret `torpor-admin` is created first, its
creator's password is the one that everybody uses, and the user is inserted only when nobody else did. An operator who
wants to choose the first password creates the Secret before. No password is ever printed.
"""

import asyncio
import contextlib
import os
import secrets
import string
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

from functions.auth.kept import SecretStore, SetupError, kept
from functions.auth.names import username as checked_username
from functions.auth.passwords import Passwords, acceptable
from functions.auth.service_key import SECRET_NAME as INFERENCE_SECRET
from functions.auth.service_key import ensure_service_key
from functions.auth.settings import SetupSettings
from functions.kit.db import Database, queries
from functions.kit.kube import Kube, KubeError
from functions.kit.migrate import migrate
from functions.kit.problem import Problem
from functions.kit.settings import SettingsError, load

SQL = queries(__file__)
SECRET_NAME: Final = "torpor-admin"  # noqa: S105  # its name, not its value
FIRST_ADMIN: Final = "admin"
# 28 of 62 characters: 166 bits, and nothing that a shell or a form could misread.
PASSWORD_LENGTH: Final = 28
PASSWORD_ALPHABET: Final = string.ascii_letters + string.digits


async def ensure_admin(db: Database, store: SecretStore, namespace: str, passwords: Passwords) -> bool:
    """Make the first admin unless there is an admin. Answers whether this call inserted it. Raises SetupError."""
    if await db.fetchval(SQL.has_admin):
        return False
    username, password = _read(await kept(store, namespace, SECRET_NAME, _new))
    with passwords.turn() as turn:
        digest = await turn.hash(password)
    row = await db.fetchrow(SQL.add_user, username, digest, "admin")
    if row is None and not await db.fetchval(SQL.has_admin):
        raise SetupError(f"user {username} exists and is no admin; name another one in Secret {SECRET_NAME}")
    return row is not None


def _new() -> Mapping[str, str]:
    password = "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH))
    return {"username": FIRST_ADMIN, "password": password}


def _read(entries: Mapping[str, str]) -> tuple[str, str]:
    """Name and password of a Secret, which may be an operator's own. Raises SetupError naming what is wrong with it."""
    try:
        return checked_username(entries["username"]), acceptable(entries["password"])
    except KeyError as error:
        raise SetupError(f"Secret {SECRET_NAME} needs the keys username and password") from error
    except Problem as error:
        raise SetupError(f"Secret {SECRET_NAME}: {error.detail}") from error


async def setup(settings: SetupSettings) -> None:
    """Migrate, make the first admin and serve's own key, say where the password is."""
    async with _opened(settings) as (db, kube):
        applied = await migrate(db)
        passwords = Passwords()
        created = await ensure_admin(db, kube, settings.namespace, passwords)
        await ensure_service_key(db, kube, settings.namespace, passwords)
    _say(f"schema: {f'applied {applied}' if applied else 'up to date'}")
    _say(f"serve's own API key: in Secret {INFERENCE_SECRET}")
    _say("first admin: created" if created else "first admin: there is one already")
    _say(f"its name and password are in Secret {SECRET_NAME}; show them with")
    for name in ("username", "password"):
        template = f"go-template='{{{{.data.{name} | base64decode}}}}'"
        _say(f"  kubectl --namespace {settings.namespace} get secret {SECRET_NAME} --output {template}")


@contextlib.asynccontextmanager
async def _opened(settings: SetupSettings) -> AsyncIterator[tuple[Database, Kube]]:
    db, kube = Database(settings.database_url), Kube(settings.kube_url, settings.kube_credentials)
    try:
        yield db, kube
    finally:
        await db.close()
        await kube.close()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    """The Job's command: exit status 1, with the reason on standard error, lets the Job try again."""
    try:
        asyncio.run(setup(load(SetupSettings, os.environ)))
    except Problem as problem:
        sys.exit(f"setup: {problem.detail}")
    except (SettingsError, SetupError, KubeError) as error:
        sys.exit(f"setup: {error}")


if __name__ == "__main__":
    main()
