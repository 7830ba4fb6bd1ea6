"""S3 on a disk that is really full: a SeaweedFS of this test's own, whose files lie on a small tmpfs.

The tmpfs exists in a mount namespace of that process alone and goes with it; where none can be made the tests are skipped.
"""

import asyncio
import dataclasses
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.kit.objects import S3Objects
from functions.kit.problem import Retry
from functions.kit.settings import Secret
from kn_model.local import child
from kn_model.local.data.seaweed import Seaweed

MIB = 1024 * 1024
# SeaweedFS sizes its volumes after the disk that it finds; smaller ones leave it too few to grow.
DISK_MIB = 200
# Of the file's parts (5, 5 and 2 MiB) one or two have room.
PARTS = 3
LEFT_MIB = 8
WITHIN_S = 120
# After room has come back: so many objects at once, so many times in a row, are stored before it is believed.
PROBES, ROUNDS = 8, 3
NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
# Volumes and names both: nothing that the server writes has room.
MOUNT = f"mount -t tmpfs -o size={DISK_MIB}m tmpfs data && mkdir data/names && mkdir -p names && mount --bind data/names names"


class OnASmallDisk(Seaweed):
    """SeaweedFS with its files on a tmpfs that nobody else sees."""

    def _server(self, chosen: dict[str, int]) -> child.Command:
        command = super()._server(chosen)
        return dataclasses.replace(command, argv=[*NAMESPACE, "sh", "-c", f'{MOUNT} && exec "$0" "$@"', *command.argv])


@dataclass
class Disk:
    """The disk below a running server."""

    server: OnASmallDisk

    @property
    def ballast(self) -> Path:
        """A file that takes the room, seen from inside the server's namespace."""
        assert self.server.process is not None
        return Path(f"/proc/{self.server.process.pid}/root{self.server.folder}/data/ballast")

    def fill(self) -> None:
        """Leave LEFT_MIB."""
        with self.ballast.open("wb") as file:
            free = os.fstatvfs(file.fileno())
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - LEFT_MIB * MIB)

    async def empty(self, objects: Any) -> None:
        """There is room again, and the server has seen it of every volume: one that it holds for full refuses its part."""
        self.ballast.unlink()
        stored = 0
        async with asyncio.timeout(WITHIN_S):
            while stored < ROUNDS:
                stored = stored + 1 if await _stores(objects) else 0
                await asyncio.sleep(1)


async def _stores(objects: Any) -> bool:
    """Whether as many objects as there may be volumes are stored side by side."""
    probes = [objects.put(f"probe-{number}", bytes(MIB)) for number in range(PROBES)]
    outcomes = await asyncio.gather(*probes, return_exceptions=True)
    unexpected = [each for each in outcomes if isinstance(each, BaseException) and not isinstance(each, Retry)]
    assert unexpected == []
    return not any(isinstance(each, Retry) for each in outcomes)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """S3 with room, until `fill`."""
    refused = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False)
    if refused.returncode:
        pytest.skip(f"no disk of our own can be mounted here: {refused.stderr.decode().strip()}")
    server = OnASmallDisk(tmp_path.resolve() / "s3", tmp_path / "s3.log")
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield Disk(server)
        runner.run(server.stop())


@pytest.fixture
def s3_endpoint(disk: Disk) -> dict[str, str]:
    """The S3 on that disk, in place of the one that all tests share."""
    return asdict(disk.server.credentials)


@pytest.fixture
def objects(s3_endpoint: dict[str, str]) -> S3Objects:
    """Its bucket. That the SDK repeats calls for a while is not what is tested."""
    keys = (Secret(s3_endpoint["access_key"]), Secret(s3_endpoint["secret_key"]))
    return S3Objects(s3_endpoint["endpoint"], s3_endpoint["region"], *keys, s3_endpoint["bucket"], attempts=1)


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, fetching from the hub of the tests into that S3."""
    # One part at a time: what is stored is then the beginning, which alone counts (docs/transfer.md).
    return make_world(hf_endpoint=source.url, parts_in_flight=1)


async def test_a_full_disk_is_named_and_the_pull_goes_on_when_there_is_room(
    world_of: Any, source: Any, disk: Disk
) -> None:
    """The file waits and says why; what was stored is kept, and with room again only the rest is fetched."""
    disk.fill()
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver(tries=2)
    file = (await world_of.files(record["uuid"]))["model.safetensors"]
    model = await world_of.model(record["uuid"])
    assert ("transferring", "downloading") == (file["status"], model["status"])
    assert "S3 answered InternalError" in file["error"]
    assert "space left" in file["error"]
    assert 503 in world_of.broker.statuses
    await disk.empty(world_of.objects)
    source.asked.clear()
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert ("available", None) == (model["status"], model["error"])
    assert {"model.safetensors": source.content} == await world_of.stored(record["uuid"])
    assert [] == await world_of.uploads()
    assert len(source.asked) < PARTS


async def test_a_disk_that_stays_full_fails_the_model_and_leaves_no_upload(world_of: Any, disk: Disk) -> None:
    """After ten tries the model has failed with a reason that names S3 and space."""
    disk.fill()
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    model = await world_of.model(record["uuid"])
    assert ("failed", "unreachable") == (model["status"], model["error_code"])
    assert "S3 answered" in model["error"]
    assert "space left" in model["error"]
    assert [] == await world_of.uploads()
    assert {} == await world_of.stored(record["uuid"])
