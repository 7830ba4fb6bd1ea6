"""What the routes of `serve` depend on; `app.build` makes it from settings, tests make their own."""

from dataclasses import dataclass
from typing import Protocol

from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import Identity
from functions.kit.objects import Objects
from functions.kit.trust import Trust
from functions.serve.asking import Asker
from functions.serve.cluster import Kubernetes
from functions.serve.runtimes import Runtimes
from functions.serve.settings import Settings


class Verifies(Protocol):
    """Turns an Authorization header into an identity; raises Unauthorized."""

    async def identify(self, authorization: str | None) -> Identity:
        """Who calls."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """What serve works with.

    db, bus, api, objects: PostgreSQL, the Broker, the Kubernetes API and S3. asker: serve's own questions to models.
    verifier: of tokens. trust: whose events are believed. runtimes: of this installation.
    """

    settings: Settings
    db: Database
    bus: Bus
    api: Kubernetes
    verifier: Verifies
    runtimes: Runtimes
    trust: Trust
    objects: Objects
    asker: Asker
