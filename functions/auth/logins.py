"""Logging in with a password: one attempt is counted, then checked, then forgiven when it was right.

`POST /auth/token` calls it. A name that nobody has gets the same work, the same answer and the same lock as a real one.
"""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

from functions.auth import names
from functions.auth.backoff import FORGET_AFTER_S, LOCK_S
from functions.auth.passwords import Passwords, Turn
from functions.kit.db import Database, queries
from functions.kit.identity import ACTIONS_OF_ROLE, MAX_TOKEN_LIFE_S, Identity
from functions.kit.problem import TooManyRequests, Unauthorized

SQL = queries(__file__)


class WrongCredentials(Unauthorized):
    """The user name or the password is wrong"""


class LoginLocked(TooManyRequests):
    """Too many wrong passwords"""


class Logins:
    """Checks user names and passwords."""

    def __init__(self, db: Database, passwords: Passwords, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._passwords = passwords
        self._clock = clock

    async def log_in(self, username: str, password: str) -> Identity:
        """Who this is. Raises WrongCredentials, LoginLocked or TooManyLogins (both 429 with Retry-After), UnusablePassword."""
        name = names.fold(username)
        with self._passwords.turn() as turn:
            user = await self._charge(name)
            if not await turn.matches(password, user and user["password_hash"]):
                raise WrongCredentials("the user name or the password is wrong")
            await self._settle(turn, user, password)
        role = user["role"]
        return Identity(user["username"], role, ("*",), ACTIONS_OF_ROLE[role], self._clock() + MAX_TOKEN_LIFE_S)

    async def _charge(self, name: str) -> Any:
        """Count the attempt and read the user, or None for nobody. Raises LoginLocked."""
        async with self._db.connection() as connection:
            await connection.execute(SQL.forget_failures, float(FORGET_AFTER_S))
            if await connection.fetchval(SQL.charge_attempt, name_digest(name), LOCK_S) is None:
                raise _locked(await connection.fetchval(SQL.lock_seconds, name_digest(name)))
            # A text that cannot be a name (a NUL, a novel) never becomes a query's argument.
            return await connection.fetchrow(SQL.credentials, name) if names.is_username(name) else None

    async def _settle(self, turn: Turn, user: Any, password: str) -> None:
        name, stored = user["username"], user["password_hash"]
        await self._db.execute(SQL.forgive, name_digest(name))
        if turn.is_outdated(stored):
            await self._db.execute(SQL.replace_hash, name, stored, await turn.hash(password))


def name_digest(name: str) -> bytes:
    """The key of a name's count: fixed size, and no list of mistyped names (some are passwords) is kept."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()


def _locked(seconds: float | None) -> LoginLocked:
    """seconds: until the lock ends; None or negative when it just ended."""
    wait = max(1, math.ceil(seconds or 0))
    return LoginLocked(
        f"too many wrong passwords for this name; try again in {wait} s, or use an API key",
        headers={"Retry-After": str(wait)},
    )
