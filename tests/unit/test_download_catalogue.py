"""Catalogues of quant services: which variant is taken, and what is refused."""

from typing import Any

import msgspec
import pytest

from functions.download.catalogue import choose, list_variant, read
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused

SHA = "ab" * 32


def entry(number: int, level: str, url: str = "m.gguf", **changes: Any) -> dict[str, Any]:
    """One entry of a catalogue, ten bytes long."""
    return {"id": number, "level": level, "size": 10, "sha256": SHA, "url": url, **changes}


def catalogue(*entries: dict[str, Any]) -> bytes:
    """The JSON of a catalogue."""
    return msgspec.json.encode({"variants": entries, "model": "more than is needed"})


FOUR = [entry(4, "Q4_K_M"), entry(8, "Q8_0"), entry(16, "BF16"), entry(8, "Q8_0", "config.json")]


@pytest.mark.parametrize(
    ("entries", "level", "expected"),
    [(FOUR, None, [4]), (FOUR, "q8_0", [8, 8]), (FOUR[1:2], None, [8]), ([entry(1, "awq")], "AWQ", [1])],
)
def test_one_variant_is_chosen(entries: list[dict[str, Any]], level: str | None, expected: list[int]) -> None:
    """The level asked for, in any case; else the only one, else the usual one."""
    assert [variant.id for variant in choose(read(catalogue(*entries)), level)] == expected


@pytest.mark.parametrize(
    ("entries", "level", "words"),
    [
        (FOUR, "Q2_K", "offers BF16, Q4_K_M, Q8_0 and not Q2_K"),
        (FOUR[1:], None, "not Q4_K_M"),
        ([], None, "offers nothing"),
        ([entry(1, "Q8_0"), entry(2, "Q8_0")], None, "more than one id"),
    ],
)
def test_what_cannot_be_chosen_is_said(entries: list[dict[str, Any]], level: str | None, words: str) -> None:
    """With what is offered, and how to ask for it."""
    with pytest.raises(SourceRefused, match=words):
        choose(read(catalogue(*entries)), level)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"variants": 1}',
        b'{"a":' * 100_000,
        catalogue(entry(-1, "Q8_0")),
        catalogue(entry(2**31, "Q8_0")),
        catalogue(entry(1, "Q8_0", size=0)),
        catalogue(entry(1, "Q8_0", size="10")),
        catalogue(entry(1, "Q8_0", sha256="ab")),
        catalogue(entry(1, "Q8_0", sha256="zz" * 32)),
        catalogue(entry(1, "")),
        catalogue(entry(1, "../x")),
        catalogue(entry(1, "Q" * 51)),
        catalogue(entry(1, "Q8_0", "")),
        catalogue(entry(1, "Q8_0", "m" * 3000)),
    ],
)
def test_a_catalogue_that_is_none_is_refused(body: bytes) -> None:
    """For good: asking again does not mend it."""
    with pytest.raises(SourceRefused, match="catalogue cannot be read"):
        read(body)


def test_files_are_named_and_found_by_their_addresses() -> None:
    """Relative to the catalogue or absolute; the first digest stands for the revision."""
    entries = [
        entry(7, "Q8_0", "files/m%20x.gguf?sig=1"),
        entry(7, "Q8_0", "https://cdn.test/config.json", sha256="CD" * 32),
    ]
    listing = list_variant(read(catalogue(*entries)), "https://quant.test/v1/catalogue")
    assert (listing.revision, listing.external_id, listing.level) == (SHA, 7, "Q8_0")
    assert listing.files == [RemoteFile("m x.gguf", 10, SHA), RemoteFile("config.json", 10, "cd" * 32)]
    assert listing.urls == {
        "m x.gguf": "https://quant.test/v1/files/m%20x.gguf?sig=1",
        "config.json": "https://cdn.test/config.json",
    }


@pytest.mark.parametrize("urls", [["m.gguf", "b/m.gguf"], ["folder/"], ["https://[::1/m.gguf"]])
def test_names_that_miss_or_collide_are_refused(urls: list[str]) -> None:
    """Two entries cannot be one file, and an address is one."""
    with pytest.raises(SourceRefused, match="catalogue has"):
        list_variant(read(catalogue(*(entry(1, "Q8_0", url) for url in urls))), "https://quant.test/")
