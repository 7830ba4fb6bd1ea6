"""The statements of the simulation's small domain: records with a chain of steps, after `functions/{download,serve}/queries.sql`.

models have files, a file is fetched in slices under a lease, a model whose files are verified is published once, and one
that was asked to be served gets a server. `effects` counts what must happen once; nothing but the caller's inbox mark or
state keeps it from counting twice.
"""

from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.postgres import Statement
from tests.simulation.store import Row, Transaction

# Steps of each record, in their order: a watcher sees that no commit goes back (see `verdict`).
STEPS: Final = {
    "models": ("downloading", "available"),
    "files": ("pending", "transferring", "verified"),
    "servers": ("pending", "ready"),
}
# A lease, a due time or a last change further in the future than this was written before the clock was set back.
CLOCK_GRACE_S: Final = 120.0


def _aged(t: Transaction, row: Row, after_s: float) -> bool:
    """Untouched for `after_s`, or touched in a future that is no more."""
    return bool(row["updated_at"] < t.now - after_s or row["updated_at"] > t.now + CLOCK_GRACE_S)


def _leased(t: Transaction, row: Row) -> bool:
    return row["lease"] is not None and t.now <= row["lease"] <= t.now + CLOCK_GRACE_S


async def add_model(t: Transaction, uuid: str, slices: Sequence[int], serve: bool) -> list[Row]:  # noqa: FBT001
    """A command; answers nothing when the same command is there."""
    row = {"uuid": uuid, "status": "downloading", "slices": tuple(slices), "serve": serve, "updated_at": t.now}
    return [{"uuid": uuid}] if await t.insert("models", uuid, row) else []


async def add_poison(t: Transaction, uuid: str) -> list[Row]:
    """Likewise, of the command that makes an event that nobody can read."""
    return [{"uuid": uuid}] if await t.insert("poison", uuid, {"uuid": uuid}) else []


async def model(t: Transaction, uuid: str) -> list[Row]:
    """One record."""
    row = t.get("models", uuid)
    return [] if row is None else [row]


async def lock_model(t: Transaction, uuid: str) -> list[Row]:
    """One record, held."""
    row = await t.lock("models", uuid)
    return [] if row is None else [row]


async def add_files(t: Transaction, uuid: str, slices: Sequence[int]) -> list[Row]:
    """The plan; a second one changes nothing."""
    for number, count in enumerate(slices):
        path = f"f{number}"
        row = {"model": uuid, "path": path, "status": "pending", "slices": count, "done": 0, "lease": None}
        await t.insert("files", (uuid, path), {**row, "updated_at": t.now})
    return []


async def list_files(t: Transaction, uuid: str) -> list[Row]:
    """All files of a model."""
    return [row for _, row in t.scan("files") if row["model"] == uuid]


async def claim_file(t: Transaction, uuid: str, path: str, lease_s: float) -> list[Row]:
    """Take the lease of a file that nobody holds."""
    row = await t.lock("files", (uuid, path))
    if row is None or row["status"] == "verified" or _leased(t, row):
        return []
    row = {**row, "status": "transferring", "lease": t.now + lease_s, "updated_at": t.now}
    t.put("files", (uuid, path), row)
    return [row]


async def is_leased(t: Transaction, uuid: str, path: str) -> list[Row]:
    """Whether a worker holds it now."""
    row = t.get("files", (uuid, path))
    return [] if row is None else [{"leased": _leased(t, row)}]


async def change_file(  # noqa: PLR0913, PLR0917 - the statement's arguments
    t: Transaction, uuid: str, path: str, lease: float, status: str, done: int, lease_s: float | None
) -> list[Row]:
    """The holder's news; answers nothing when the lease is no longer the holder's."""
    row = await t.lock("files", (uuid, path))
    if row is None or row["lease"] != lease:
        return []
    until = None if lease_s is None else t.now + lease_s
    t.put("files", (uuid, path), {**row, "status": status, "done": done, "lease": until, "updated_at": t.now})
    return [{"lease": until or 0.0}]


async def publish_model(t: Transaction, uuid: str) -> list[Row]:
    """Once, when every file is verified."""
    row = await t.lock("models", uuid)
    if row is None or row["status"] != "downloading":
        return []
    t.put("models", uuid, {**row, "status": "available", "updated_at": t.now})
    return [{"uuid": uuid}]


async def stalled_plans(t: Transaction, after_s: float) -> list[Row]:
    """Records without a plan, or with every file verified and not published; touched."""
    busy = {row["model"] for _, row in t.scan("files") if row["status"] != "verified"}
    stalled = (
        key
        for key, row in t.scan("models")
        if row["status"] == "downloading" and key not in busy and _aged(t, row, after_s)
    )
    return _touched(t, "models", t.skip_locked("models", stalled, 100))


async def stalled_files(t: Transaction, after_s: float) -> list[Row]:
    """Files that nobody works on although they should be; touched."""
    stalled = (
        key
        for key, row in t.scan("files")
        if row["status"] != "verified" and _aged(t, row, after_s) and not _leased(t, row)
    )
    return _touched(t, "files", t.skip_locked("files", stalled, 500))


async def add_server(t: Transaction, uuid: str) -> list[Row]:
    """The server of a model that wants one; answers nothing when there is one."""
    row = {"uuid": uuid, "status": "pending", "updated_at": t.now}
    return [{"uuid": uuid}] if await t.insert("servers", uuid, row) else []


async def server(t: Transaction, uuid: str) -> list[Row]:
    """One server."""
    row = t.get("servers", uuid)
    return [] if row is None else [row]


async def ready_server(t: Transaction, uuid: str) -> list[Row]:
    """Its object is in the cluster."""
    row = await t.lock("servers", uuid)
    if row is None or row["status"] != "pending":
        return []
    t.put("servers", uuid, {**row, "status": "ready", "updated_at": t.now})
    return [{"uuid": uuid}]


async def stalled_servers(t: Transaction, after_s: float) -> list[Row]:
    """Servers that nobody works on."""
    return [row for _, row in t.scan("servers") if row["status"] == "pending" and _aged(t, row, after_s)]


async def unserved_models(t: Transaction, after_s: float) -> list[Row]:
    """Published, wanted as a server, and none is there."""
    return [
        row
        for key, row in t.scan("models")
        if row["status"] == "available" and row["serve"] and t.get("servers", key) is None and _aged(t, row, after_s)
    ]


async def count_effect(t: Transaction, what: str, subject: str) -> list[Row]:
    """It happened once more."""
    row = await t.lock("effects", (what, subject)) or {"count": 0}
    t.put("effects", (what, subject), {"count": row["count"] + 1})
    return []


async def add_dead_letter(t: Transaction, source: str, id_: str, dest: str, type_: str, subject: str) -> list[Row]:  # noqa: PLR0913, PLR0917
    """Once per destination that failed."""
    row = await t.lock("dead_letters", (source, id_, dest)) or {"times": 0}
    t.put("dead_letters", (source, id_, dest), {"times": row["times"] + 1, "type": type_, "subject": subject})
    return []


def _touched(t: Transaction, table: str, keys: Sequence[Any]) -> list[Row]:
    rows = [{**(t.get(table, key) or {}), "updated_at": t.now} for key in keys]
    for key, row in zip(keys, rows, strict=True):
        t.put(table, key, row)
    return rows


NAMED: Final[dict[str, Statement]] = {
    each.__name__: each
    for each in (
        add_model, add_poison, model, lock_model, add_files, list_files, claim_file, is_leased, change_file, publish_model,
        stalled_plans, stalled_files, add_server, server, ready_server, stalled_servers, unserved_models, count_effect,
        add_dead_letter,
    )
}  # fmt: skip
