"""A digest that can be stored and goes on elsewhere."""

import hashlib
import itertools

import pytest

from functions.download.digest import Digest

CONTENT = bytes(range(256)) * 5000
OID = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 1_000_003, len(CONTENT)])
def test_a_stored_digest_goes_on_where_it_was(cut: int) -> None:
    """Stored and loaded at any byte, it ends as the digest of the whole."""
    first = Digest(len(CONTENT), with_git_oid=True)
    first.update(CONTENT[:cut])
    second = Digest.load(first.dump())
    second.update(CONTENT[cut:])
    assert second.offset == len(CONTENT)
    assert (second.sha256(), second.git_oid()) == (hashlib.sha256(CONTENT).hexdigest(), OID)


def test_git_is_computed_only_when_asked_for() -> None:
    """Large files are known by their SHA-256 alone; their state is small."""
    digest = Digest.load(Digest(1, with_git_oid=False).dump())
    assert digest.git_oid() is None
    assert len(digest.dump()) < 130


@pytest.mark.parametrize("state", [b"", b"\x01", b"\x02" + bytes(200), b"\x01" + bytes(8) + b"\0\0\0\x05" + bytes(5)])
def test_a_broken_state_is_an_error(state: bytes) -> None:
    """Nothing is hashed on top of a state that cannot be read."""
    with pytest.raises(ValueError, match=r"."):
        Digest.load(state)


def test_pieces_of_any_size_give_the_same() -> None:
    """How the bytes arrive does not matter."""
    digest = Digest(len(CONTENT), with_git_oid=False)
    for start, end in itertools.pairwise([*range(0, len(CONTENT), 77_777), len(CONTENT)]):
        digest.update(CONTENT[start:end])
    assert digest.sha256() == hashlib.sha256(CONTENT).hexdigest()
