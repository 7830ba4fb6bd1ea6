"""Who calls auth's own routes: the credential verified as everywhere, then held against the database of this moment.

Without that look a demoted admin could, within the life of a token, make a new admin or an API key that outlives it.
"""

import dataclasses

from starlette.requests import Request

from functions.kit.db import Database, queries
from functions.kit.identity import ACTIONS_OF_ROLE, Identity, Verifier
from functions.kit.problem import Unauthorized

SQL = queries(__file__)


def authorization(request: Request) -> str | None:
    """The one Authorization header. Two are refused: an ingress and we might each believe another one."""
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        raise Unauthorized("the Authorization header is there twice")
    return values[0] if values else None


class Callers:
    """Identifies callers of the routes that manage users and keys."""

    def __init__(self, verifier: Verifier, db: Database) -> None:
        self._verifier = verifier
        self._db = db

    async def identify(self, request: Request) -> Identity:
        """The caller with today's role: never more than the credential says, never more than the user still has.

        Raises Unauthorized for a bad credential and for a user or a key that is gone.
        """
        who = await self._verifier.identify(authorization(request))
        role = await self._db.fetchval(SQL.role_of, who.subject, who.key_id)
        if role is None:
            raise Unauthorized("the user or the API key of this credential no longer exists")
        actions = tuple(action for action in who.actions if action in ACTIONS_OF_ROLE[role])
        return dataclasses.replace(who, role=role, actions=actions)

    async def admin(self, request: Request) -> Identity:
        """A caller who may manage users. Raises Unauthorized or Forbidden."""
        who = await self.identify(request)
        who.require("admin")
        return who
