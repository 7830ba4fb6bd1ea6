"""`python -m functions.auth.setup`: the Job that brings the schema up to date and makes the first admin.

Safe to run again, to be killed anywhere and to run twice at once: the Secret `torpor-admin` is created first, its
creator's password is the one that everybody uses, and the user is inserted only when nobody else did. An operator who
wants to choose the first password creates the Secret before. No password is ever printed.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import secrets
import string
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from functions.auth.names import username as checked_username
from functions.auth.passwords import Passwords, acceptable
from functions.auth.settings import SetupSettings
from functions.kit.db import Database, queries
from functions.kit.kube import Json, Kube, KubeError, path
from functions.kit.migrate import migrate
from functions.kit.problem import Problem
from functions.kit.settings import SettingsError, load

SQL = queries(__file__)
SECRET_NAME: Final = "torpor-admin"  # noqa: S105  # its name, not its value
FIRST_ADMIN: Final = "admin"
# 28 of 62 characters: 166 bits, and nothing that a shell or a form could misread.
PASSWORD_LENGTH: Final = 28
PASSWORD_ALPHABET: Final = string.ascii_letters + string.digits
ALREADY_EXISTS: Final = 409
# The Secret can vanish between "it exists" and reading it; more often than this somebody else is fighting us.
ATTEMPTS: Final = 5


class SetupError(Exception):
    """The first admin cannot be made; the message says what to do."""


class SecretStore(Protocol):
    """What setup needs of the Kubernetes API."""

    async def get(self, resource: str) -> Json | None:
        """The object, or None when absent."""

    async def create(self, collection: str, body: Mapping[str, Any]) -> Json:
        """A new object. KubeError 409 when its name is taken."""


async def ensure_admin(db: Database, store: SecretStore, namespace: str, passwords: Passwords) -> bool:
    """Make the first admin unless there is an admin. Answers whether this call inserted it. Raises SetupError."""
    if await db.fetchval(SQL.has_admin):
        return False
    username, password = await _agreed(store, namespace)
    with passwords.turn() as turn:
        digest = await turn.hash(password)
    row = await db.fetchrow(SQL.add_user, username, digest, "admin")
    if row is None and not await db.fetchval(SQL.has_admin):
        raise SetupError(f"user {username} exists and is no admin; name another one in Secret {SECRET_NAME}")
    return row is not None


async def _agreed(store: SecretStore, namespace: str) -> tuple[str, str]:
    """Name and password from the Secret, created here unless it is there already."""
    for _ in range(ATTEMPTS):
        found = await store.get(path("v1", "secrets", namespace, SECRET_NAME))
        if found is not None:
            return _read(found)
        try:
            return _read(await store.create(path("v1", "secrets", namespace), _secret(namespace)))
        except KubeError as error:
            if error.status != ALREADY_EXISTS:
                raise
    raise SetupError(f"Secret {SECRET_NAME} is created and deleted by somebody else; stop that and run setup again")


def _secret(namespace: str) -> Json:
    password = "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET_NAME,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "torpor"},
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in _entries(password).items()},
    }


def _entries(password: str) -> dict[str, str]:
    return {"username": FIRST_ADMIN, "password": password}


def _read(secret: Json) -> tuple[str, str]:
    """Name and password of a Secret, which may be an operator's own. Raises SetupError naming what is wrong with it."""
    try:
        data = secret["data"]
        username, password = (base64.b64decode(data[name], validate=True).decode() for name in ("username", "password"))
        return checked_username(username), acceptable(password)
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise SetupError(f"Secret {SECRET_NAME} needs the keys username and password") from error
    except Problem as error:
        raise SetupError(f"Secret {SECRET_NAME}: {error.detail}") from error


async def setup(settings: SetupSettings) -> None:
    """Migrate, make the first admin, say where its password is."""
    async with _opened(settings) as (db, kube):
        applied = await migrate(db)
        created = await ensure_admin(db, kube, settings.namespace, Passwords())
    _say(f"schema: {f'applied {applied}' if applied else 'up to date'}")
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
