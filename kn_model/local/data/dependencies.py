"""PostgreSQL and S3 of the runtime: our own servers, kept running, or those that the environment names.

Called by the supervisor. `TORPOR_DATABASE_URL` replaces the one, the five `TORPOR_S3_*` the other.
"""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from kn_model.local import child
from kn_model.local.data.postgres import Postgres, PostgresError
from kn_model.local.data.s3 import Credentials
from kn_model.local.data.seaweed import Seaweed, SeaweedError
from kn_model.local.progress import Say, step
from kn_model.local.state import State

DATABASE: Final = "TORPOR_DATABASE_URL"
S3: Final = {
    "endpoint": "TORPOR_S3_ENDPOINT",
    "region": "TORPOR_S3_REGION",
    "access_key": "TORPOR_S3_ACCESS_KEY",
    "secret_key": "TORPOR_S3_SECRET_KEY",
    "bucket": "TORPOR_S3_BUCKET",
}
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
# A server that ran this long was healthy: its next crash starts the pauses anew. What cannot run ends within seconds; one
# that is killed every now and then should not be missed for half a minute each time.
SETTLED_S: Final = 10.0


class DependencyError(Exception):
    """A dependency is not described completely"""


class Server(Protocol):
    """A supervised server."""

    name: str
    process: subprocess.Popen[bytes] | None

    async def start(self) -> None:
        """Return when it serves; keep the address of an earlier start."""

    async def stop(self) -> None:
        """End it."""


@dataclass
class Dependencies:
    """Where the functions find their database and their bucket."""

    servers: list[Server]
    database_url: str
    s3: Credentials

    @property
    def own_database(self) -> bool:
        """Whether the database is ours alone, so that nobody else can be using what is in it."""
        return any(isinstance(server, Postgres) for server in self.servers)

    async def stop(self) -> None:
        """End what we started."""
        await asyncio.gather(*(server.stop() for server in self.servers))


async def started(state: State, environ: Mapping[str, str], tell: Say) -> Dependencies:
    """Start, side by side, what the environment does not name. DependencyError names a variable that is missing."""
    named = _s3_named(environ)
    logs = state.logs
    postgres = None if environ.get(DATABASE) else Postgres(state.folder / "postgres", logs / "postgres.log", tell)
    seaweed = None if named else Seaweed(state.folder / "s3", logs / "s3.log")
    servers: list[Server] = [server for server in (postgres, seaweed) if server is not None]
    await asyncio.gather(*(_start(server, tell) for server in servers))
    return Dependencies(
        servers=servers,
        database_url=postgres.url if postgres else environ[DATABASE],
        s3=seaweed.credentials if seaweed else Credentials(**named),
    )


async def keep(server: Server, tell: Say, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Start a server again whenever it ends, with growing pauses; on its old address, so that nobody has to be told.

    A start that fails is told and tried again: the next one may find the disk or the memory that this one lacked.
    """
    pause, clock = FIRST_PAUSE_S, asyncio.get_running_loop().time
    while server.process is not None:
        since = clock()
        code = await child.exited(server.process)
        pause = FIRST_PAUSE_S if clock() - since > SETTLED_S else min(pause * 2, LONGEST_PAUSE_S)
        tell(f"{server.name} ended ({_ending(code)}); starting it again in {pause:.0f} s")
        await sleep(pause)
        try:
            await server.start()
        except (PostgresError, SeaweedError) as error:
            tell(str(error))
        else:
            tell(f"{server.name} runs again")


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def _start(server: Server, tell: Say) -> None:
    async with step(server.name, tell):
        await server.start()


def _s3_named(environ: Mapping[str, str]) -> dict[str, str]:
    """The S3 of the environment: nothing, or all of it."""
    named = {key: environ[variable] for key, variable in S3.items() if environ.get(variable)}
    missing = [variable for key, variable in S3.items() if key not in named]
    if named and missing:
        raise DependencyError(f"{', '.join(missing)}: needed too, since {S3[next(iter(named))]} is set")
    return named
