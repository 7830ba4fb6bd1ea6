"""`status` as a process of its own, for tests of its streams: `python -m tests.integration.feed.served PORT DATABASE_URL`.

A credential is `<role>:<models>` or `<role>:<models>:<subject>`, such as `Bearer user:tiny,small`; `gone` is refused.
"""

import sys

import uvicorn

from functions.kit import app
from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from functions.kit.problem import Unauthorized
from functions.kit.settings import Secret
from functions.status.app import routes
from functions.status.deps import Deps
from tests.deliveries import KEYRING, TRUST
from tests.nowhere import NO_OBJECTS


class Spoken:
    """A verifier that believes what it is told."""

    async def identify(self, authorization: str | None) -> Identity:
        """Who the credential says."""
        role, _, rest = (authorization or "").removeprefix("Bearer ").partition(":")
        if role not in ACTIONS_OF_ROLE:
            raise Unauthorized("no token")
        names, _, subject = rest.partition(":")
        return Identity(subject or "somebody", role, tuple(names.split(",")), ACTIONS_OF_ROLE[role], 0.0)


async def unpublished(headers: object, data: bytes) -> None:
    """A Broker that takes everything."""


def main() -> None:
    """Serve until SIGTERM."""
    port, url = sys.argv[1:]
    db = Database(Secret(url))
    bus = Bus(db, "/torpor/status", unpublished, KEYRING)
    handle = app.build(routes(Deps(db, bus, Spoken(), TRUST, NO_OBJECTS)), ready={"PostgreSQL": db.ping})
    uvicorn.run(handle, host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main()
