"""The hub answers huggingface_hub's own client as the real one does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kn_model.hub.server import Hub

REPOSITORY = "acme/tiny"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(range(256)) * 4096,
    "sub/vocab.txt": b"a\nb\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with one repository of a large-file-storage weight file and two small files."""
    for path, content in FILES.items():
        place = tmp_path / "root" / REPOSITORY / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return tmp_path / "root"


@pytest.fixture
async def hub(root: Path) -> AsyncIterator[Hub]:
    """The hub over that directory."""
    async with Hub(root) as server:
        yield server


def read_all(place: Path) -> dict[str, bytes]:
    """Every file below `place` by its relative path."""
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


async def ask(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a blocking client call beside the hub's event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def test_the_real_client_downloads_a_snapshot(hub: Hub, tmp_path: Path) -> None:
    """snapshot_download brings every file, byte for byte, through redirects and the file tree."""
    options = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "token": False}
    place = Path(await ask(snapshot_download, REPOSITORY, **options))
    assert read_all(place) == FILES


async def test_model_information_carries_commit_sizes_and_digests(hub: Hub) -> None:
    """With blobs asked for, sha256 stands for large files and git's blob id for small ones."""
    information = await ask(HfApi(hub.url, token=False).model_info, REPOSITORY, files_metadata=True)
    seen = {
        entry.rfilename: (entry.size, entry.blob_id, entry.lfs and entry.lfs.sha256) for entry in information.siblings
    }
    config, weights = FILES["config.json"], FILES["model.safetensors"]
    blob_id = hashlib.sha1(b"blob %d\0" % len(config) + config, usedforsecurity=False).hexdigest()
    assert len(information.sha) == 40
    assert seen["config.json"] == (len(config), blob_id, None)
    assert seen["model.safetensors"][::2] == (len(weights), hashlib.sha256(weights).hexdigest())


async def test_what_is_missing_is_named(hub: Hub, tmp_path: Path) -> None:
    """The client raises its own error for an unknown repository, revision and file."""
    api = HfApi(hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        await ask(api.model_info, "acme/none")
    with pytest.raises(RevisionNotFoundError):
        await ask(api.model_info, REPOSITORY, revision="none")
    with pytest.raises(EntryNotFoundError):
        await ask(api.hf_hub_download, REPOSITORY, "none.json", cache_dir=tmp_path / "cache")


async def test_a_gated_repository_opens_only_to_listed_tokens(hub: Hub, root: Path, tmp_path: Path) -> None:
    """No token and a wrong token are refused as gated; a listed one reads."""
    (root / REPOSITORY / ".gated").write_text("hf_right\n")
    for token in (False, "hf_wrong"):
        with pytest.raises(GatedRepoError):
            await ask(
                HfApi(hub.url, token=token).hf_hub_download, REPOSITORY, "config.json", cache_dir=tmp_path / "cache"
            )
    api = HfApi(hub.url, token="hf_right")
    place = Path(await ask(api.hf_hub_download, REPOSITORY, "config.json", cache_dir=tmp_path / "cache"))
    assert read_all(place.parent) == {"config.json": FILES["config.json"]}


async def test_a_branch_and_its_commit_are_revisions(hub: Hub, root: Path) -> None:
    """`name@branch` is a branch; the commit it is at finds the same files."""
    branch = root / f"{REPOSITORY}@next"
    branch.mkdir()
    (branch / "config.json").write_text("{}")
    api = HfApi(hub.url, token=False)
    at_branch = await ask(api.model_info, REPOSITORY, revision="next")
    at_commit = await ask(api.model_info, REPOSITORY, revision=at_branch.sha)
    assert at_branch.sha == at_commit.sha
    assert [entry.rfilename for entry in at_commit.siblings] == ["config.json"]
    assert at_branch.sha != (await ask(api.model_info, REPOSITORY)).sha
