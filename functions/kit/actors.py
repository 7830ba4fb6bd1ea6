"""Whether the person behind an event may still ask for what it asks.

The endpoint that took the request has checked its token; between then and the handler lie queues, retries and dead
letters that are sent again days later. Called by handlers that create something on somebody's behalf, and not by those
that stop or delete: what is over need not be asked for.
"""

from pathlib import Path
from typing import Any, Protocol

from functions.kit.db import queries
from functions.kit.identity import ACTIONS_OF_ROLE

SQL = queries(str(Path(__file__)))


class Rows(Protocol):
    """A database or one of its connections. Raises Retry (503) when it does not answer."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        ...


async def refusal(rows: Rows, actor: str, action: str = "operate") -> str | None:
    """Why `actor` may not do `action` any more, for the record and its reader; None when they may.

    An empty actor may: it is Torpor's own upkeep, which repairs what was asked for and allowed before, and must go on
    when that person has left. Nobody else can leave the actor out: the signature of the event covers it.
    """
    if not actor:
        return None
    role = await rows.fetchval(SQL.role_of_actor, actor)
    if role is None:
        return f"{actor[:255]}, who asked for it, is no longer a user; somebody who may {action} can ask again"
    if action not in ACTIONS_OF_ROLE[role]:
        return f"{actor[:255]}, who asked for it, is now a {role} and may not {action}; somebody who may can ask again"
    return None
