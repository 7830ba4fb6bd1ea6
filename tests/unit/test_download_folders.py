"""Folders of the machine as a source: what is listed, what is read, and what stays out of reach."""

import os
from pathlib import Path

import pytest

from functions.download.folders import Folders
from functions.download.layout import Span
from functions.download.plan import RemoteFile
from functions.download.problems import SourceChanged, SourceRefused
from functions.download.ranges import Origin
from functions.download.sources import FolderSource


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with two files, a hidden one and one that is no file; a secret beside it."""
    folder = tmp_path / "allowed" / "tiny"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "sub" / "m x.gguf").write_bytes(b"0123456789")
    (folder / ".hidden").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (tmp_path / "secret.gguf").write_bytes(b"secret")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Folders that allow one."""
    return Folders((str(tmp_path / "allowed"),))


async def origin(folders: Folders, folder: Path, path: str) -> Origin:
    """The planned origin of one file."""
    listing = await folders.listing(FolderSource(str(folder)))
    return Origin(listing.urls[path], 10, lambda *_: Exception(), listing.etags[path])


async def test_a_folder_is_listed_with_all_below(folders: Folders, model: Path) -> None:
    """Regular files that are not hidden; the revision changes with any of them."""
    source = FolderSource(str(model))
    listing = await folders.listing(source)
    assert sorted(listing.files, key=lambda file: file.path) == [
        RemoteFile("config.json", 2),
        RemoteFile("sub/m x.gguf", 10),
    ]
    assert (await folders.listing(source)).revision == listing.revision
    (model / "config.json").write_bytes(b"{} ")
    assert (await folders.listing(source)).revision != listing.revision


async def test_one_file_is_a_source(folders: Folders, model: Path) -> None:
    """Under its own name."""
    listing = await folders.listing(FolderSource(str(model / "sub" / "m x.gguf")))
    assert listing.files == [RemoteFile("m x.gguf", 10)]


async def test_spans_are_read(folders: Folders, model: Path) -> None:
    """Any part of the file, and the progress is told."""
    seen: list[int] = []
    found = await origin(folders, model, "sub/m x.gguf")
    assert await folders.read(found, Span(1, 3, 7), 0.0, seen.append) == b"3456"
    assert seen == [4]


@pytest.mark.parametrize("change", ["written", "replaced", "shortened"])
async def test_a_file_that_changes_is_not_mixed(folders: Folders, model: Path, change: str) -> None:
    """Written to, replaced by one of the same size and time, or cut."""
    path = model / "sub" / "m x.gguf"
    found = await origin(folders, model, "sub/m x.gguf")
    before = path.stat()
    if change == "replaced":
        path.rename(model / "old.gguf")
    path.write_bytes(b"9876543210" if change != "shortened" else b"0123")
    if change == "replaced":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SourceChanged):
        await folders.read(found, Span(1, 0, 10), 0.0, lambda _: None)


async def test_links_inside_are_followed(folders: Folders, model: Path) -> None:
    """The hub's own cache is made of them."""
    blobs = model.parent / "blobs"
    blobs.mkdir()
    (blobs / "abc").write_bytes(b"weights")
    (model / "m.safetensors").symlink_to(blobs / "abc")
    listing = await folders.listing(FolderSource(str(model)))
    assert RemoteFile("m.safetensors", 7) in listing.files


async def test_no_link_leads_out(folders: Folders, model: Path, tmp_path: Path) -> None:
    """Neither when it is planned nor when it is put there afterwards; nor does the name of a folder."""
    found = await origin(folders, model, "sub/m x.gguf")
    path = model / "sub" / "m x.gguf"
    path.unlink()
    path.symlink_to(tmp_path / "secret.gguf")
    with pytest.raises(SourceRefused, match="in no folder"):
        await folders.read(found, Span(1, 0, 6), 0.0, lambda _: None)
    with pytest.raises(SourceRefused, match="in no folder"):
        await folders.listing(FolderSource(str(model)))
    (tmp_path / "allowed-too").mkdir()
    for outside in (tmp_path, tmp_path / "allowed-too", tmp_path / "secret.gguf"):
        with pytest.raises(SourceRefused, match="in no folder"):
            await folders.listing(FolderSource(str(outside)))


async def test_without_the_setting_nothing_is_read(model: Path) -> None:
    """As on a cluster."""
    with pytest.raises(SourceRefused, match="TORPOR_ALLOWED_SOURCE_FOLDERS"):
        await Folders(()).listing(FolderSource(str(model)))


async def test_what_is_not_there_is_named(folders: Folders, model: Path) -> None:
    """A loop of links is nothing either."""
    (model / "loop").symlink_to(model / "loop")
    for path, code in ((model / "none", "file-not-found"), (model / "loop", "source-forbidden")):
        with pytest.raises(SourceRefused, match=path.name) as refused:
            await folders.listing(FolderSource(str(path)))
        assert refused.value.code == code
