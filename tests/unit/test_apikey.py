"""The form of API keys."""

import pytest

from functions.kit import apikey


def test_a_generated_key_is_well_formed() -> None:
    """A fresh key passes its own check and shows its id."""
    key = apikey.generate()
    assert apikey.well_formed(key)
    assert key.startswith(f"tpk_{apikey.key_id(key)}_")


def test_two_keys_differ() -> None:
    """Keys are random."""
    assert apikey.generate() != apikey.generate()


@pytest.mark.parametrize("position", [4, 12, 13, 30, 45, 50])
def test_one_wrong_character_is_noticed(position: int) -> None:
    """A mistyped key is refused without asking anybody."""
    key = apikey.generate()
    other = "0" if key[position] != "0" else "1"
    assert not apikey.well_formed(key[:position] + other + key[position + 1 :])


@pytest.mark.parametrize(
    "text", ["", "tpk_", "sk-abc", "tpk_" + "a" * 47, "\n" + apikey.generate(), apikey.generate() + "\n"]
)
def test_other_text_is_not_a_key(text: str) -> None:
    """Form and length are exact."""
    assert not apikey.well_formed(text)
