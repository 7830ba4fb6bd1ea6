"""What the routes of `serve` depend on; `app.build` makes it from settings, tests make their own."""

from dataclasses import dataclass
from typing import Protocol

from functions.kit.bus import Bus
from functions.kit.db import Database
from functions.kit.identity import Identity
from functions.kit.trust import Trust
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
    """Database, Broker, Kubernetes API, the verifier of tokens, the runtimes of this installation, and whose events are believed."""

    settings: Settings
    db: Database
    bus: Bus
    api: Kubernetes
    verifier: Verifies
    runtimes: Runtimes
    trust: Trust
