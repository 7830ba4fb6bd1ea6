"""Users in the database: created, changed and deleted by admins; there is always an admin.

A deleted user's API keys stop at once, and so does a demoted user's surplus through them; tokens run out within the hour.
"""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from functions.auth import names
from functions.auth.logins import name_digest
from functions.auth.passwords import Passwords, acceptable
from functions.kit.db import Database, queries
from functions.kit.problem import Conflict, NotFound

SQL = queries(__file__)
Role = Literal["admin", "operator", "user"]
ADMIN: Final = "admin"


class UserNotFound(NotFound):
    """There is no such user"""


class UsernameTaken(Conflict):
    """A user of this name exists"""


class LastAdmin(Conflict):
    """The last admin stays"""


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /auth/users`."""

    username: str
    password: str
    role: Role = "user"


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /auth/users/{username}`: what is absent stays."""

    password: str | None = None
    role: Role | None = None


class User(msgspec.Struct):
    """A user as every answer shows one; never with a hash."""

    username: str
    role: str
    created_at: datetime
    updated_at: datetime


class Users:
    """The table `users`."""

    def __init__(self, db: Database, passwords: Passwords) -> None:
        self._db = db
        self._passwords = passwords

    async def create(self, new: NewUser) -> User:
        """Add a user. Raises UsernameTaken, UnusableName, UnusablePassword."""
        row = await self._db.fetchrow(
            SQL.add_user, names.username(new.username), await self._hash(new.password), new.role
        )
        if row is None:
            raise UsernameTaken(f"{new.username} exists; choose another name, or change that user")
        return User(**row)

    async def get(self, username: str) -> User:
        """One user. Raises UserNotFound."""
        row = await self._db.fetchrow(SQL.get_user, username) if names.is_username(username) else None
        return _found(row, username)

    async def page(self, after: str, limit: int) -> list[User]:
        """Up to `limit` users by name, after the name `after`."""
        return [User(**row) for row in await self._db.fetch(SQL.list_users, after, limit)]

    async def change(self, username: str, change: UserChange) -> User:
        """Set password or role. A new password lifts a lock. Raises UserNotFound, LastAdmin, UnusablePassword."""
        await self.get(username)
        digest = None if change.password is None else await self._hash(change.password)
        async with self._db.transaction() as connection:
            if change.role not in {None, ADMIN}:
                await _keep_an_admin(connection, without=username)
            row = await connection.fetchrow(SQL.change_user, username, digest, change.role)
            if digest is not None:
                await connection.execute(SQL.forgive, name_digest(username))
        return _found(row, username)

    async def delete(self, username: str) -> None:
        """Remove a user with all API keys. Raises UserNotFound, LastAdmin."""
        await self.get(username)
        async with self._db.transaction() as connection:
            await _keep_an_admin(connection, without=username)
            if await connection.fetchval(SQL.delete_user, username) is None:
                raise UserNotFound(f"there is no user {username}")

    async def _hash(self, password: str) -> str:
        acceptable(password)
        with self._passwords.turn() as turn:
            return await turn.hash(password)


async def _keep_an_admin(connection: Any, *, without: str) -> None:
    """Lock the admins and raise LastAdmin when `without` is the only one."""
    admins = {row["username"] for row in await connection.fetch(SQL.lock_admins)}
    if admins == {without}:
        raise LastAdmin(f"{without} is the only admin; make another one first")


def _found(row: Any, username: str) -> User:
    if row is None:
        raise UserNotFound(f"there is no user {username[:64]!r}")
    return User(**row)
