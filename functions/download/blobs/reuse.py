"""What a new plan does not have to fetch: files whose content is stored. One transaction with the plan that wants them."""

from collections.abc import Sequence
from typing import Any

from functions.download.blobs.shelf import SQL
from functions.download.hub import Listing
from functions.download.plan import RemoteFile
from functions.download.states import FILE, FileCause
from functions.kit.bus import Unit


async def take_stored(
    unit: Unit, model_uuid: str, repository: str | None, chosen: Sequence[RemoteFile], listing: Listing
) -> frozenset[str]:
    """Mark the files of the plan whose bytes are here as verified, and answer their paths.

    The blobs are locked until the plan is committed, and referred to from then on: the collector either sees the plan
    or has taken them before, and then they are not stored.
    """
    digests = {file.path: file.sha256 for file in chosen if file.sha256} | await _known(
        unit, repository, chosen, listing
    )
    if not digests:
        return frozenset()
    stored = {
        row["digest"]: row["size_bytes"]
        for row in await unit.connection.fetch(SQL.stored_blobs, sorted(set(digests.values())))
    }
    here = [file.path for file in chosen if stored.get(digests.get(file.path, "")) == file.size]
    move = (FILE.allowing(FileCause.REUSED), FILE.target(FileCause.REUSED))
    arguments = (model_uuid, *move, here, [digests[path] for path in here])
    return frozenset(row["path"] for row in await unit.connection.fetch(SQL.reuse_files, *arguments))


async def _known(unit: Unit, repository: str | None, chosen: Sequence[RemoteFile], listing: Listing) -> dict[str, str]:
    """Digests that the source does not tell, of the same versions of these files fetched before."""
    unsaid = [file for file in chosen if not file.sha256]
    rows: list[Any] = await unit.connection.fetch(
        SQL.known_digests,
        repository,
        [file.path for file in unsaid],
        [file.size for file in unsaid],
        [file.git_oid for file in unsaid],
        [listing.urls[file.path] for file in unsaid],
        [listing.etags.get(file.path, "") for file in unsaid],
    )
    return {row["path"]: row["sha256"] for row in rows}
