"""What the routes of `status` depend on; `app.build` makes it from settings, tests make their own."""

from dataclasses import dataclass
from typing import Any, Protocol

from functions.kit.bus import Bus
from functions.kit.identity import Identity
from functions.kit.objects import Objects
from functions.kit.trust import Trust


class Rows(Protocol):
    """What reads need of the database. Raises Retry (503) when it does not answer."""

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        """All rows."""
        ...

    async def fetchrow(self, sql: str, *args: object) -> Any:
        """The first row, or None."""
        ...

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement."""
        ...


class Verifies(Protocol):
    """Turns an Authorization header into an identity; raises Unauthorized."""

    async def identify(self, authorization: str | None) -> Identity:
        """Who calls."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """Database, Broker, the verifier of tokens, whose events are believed, and the S3 that keeps answers."""

    db: Rows
    bus: Bus
    verifier: Verifies
    trust: Trust
    objects: Objects
