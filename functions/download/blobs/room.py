"""Whether a plan fits, before its first byte: the installation's quota, and what the store says is free.

What is used is asked of PostgreSQL: each content once, with what other plans are still going to bring. S3 itself has no
word for free space; SeaweedFS's volume servers have a status page, and elsewhere the quota is all there is.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from functions.download.blobs.shelf import SQL
from functions.kit.bus import Unit

_GIB: Final = 1024**3


class NoRoom(Exception):
    """The plan does not fit; the message has the numbers and the next step."""

    def __init__(self, short: int, message: str) -> None:
        super().__init__(message)
        self.short = short


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes: what the installation may use (0 is no limit), and what the store has free (None: it does not say)."""

    quota: int
    free: int | None

    def check(self, before: int, after: int) -> None:
        """Whether a plan may take the bytes used from `before` to `after`. Raises NoRoom."""
        needed = after - before
        if self.quota and needed > 0 and after > self.quota:
            raise NoRoom(
                after - self.quota,
                f"{_shown(needed)} are to be stored, {_shown(before)} of the quota of {_shown(self.quota)} are taken: "
                "delete models, run `kn model gc --now`, or raise TORPOR_STORE_QUOTA_BYTES; then retry",
            )
        if self.free is not None and needed > self.free:
            raise NoRoom(
                needed - self.free,
                f"{_shown(needed)} are to be stored and the store has {_shown(self.free)} free: delete models, run "
                "`kn model gc --now`, or give it more disk; then retry",
            )


async def taken(unit: Unit) -> int:
    """Bytes that content takes or is promised, once per content. Whoever asks is alone with it until its commit."""
    await unit.connection.execute(SQL.lock_room)
    return int(await unit.connection.fetchval(SQL.bytes_taken))


class _Disk(msgspec.Struct):
    free: int = 0


class _Status(msgspec.Struct, rename="pascal"):
    disk_statuses: list[_Disk] = []


def free_bytes(answer: bytes) -> int:
    """What a volume server of SeaweedFS says (`GET /status`): the free bytes of all its disks. Raises ValueError."""
    try:
        disks = msgspec.json.decode(answer, type=_Status).disk_statuses
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"the store's status cannot be read: {error}") from error
    if not disks:
        raise ValueError("the store's status names no disk")
    return sum(disk.free for disk in disks)


def _shown(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB / 10 else f"{count} bytes"
