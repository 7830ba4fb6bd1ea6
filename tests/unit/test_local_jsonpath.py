"""Paths of printer columns whose names have dots: escaped as kubectl wants them, in brackets, or refused."""

import pytest

from kn_model.local.api import jsonpath

LABELS = {"example.org/x": "dotted", "example": {"org/x": "nested"}, "plain": "p"}
OBJECT = {"metadata": {"labels": LABELS}, "items": [{"a": {"b": "c"}, "name": "n"}]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r".metadata.labels.example\.org/x", "dotted"),
        (".metadata.labels['example.org/x']", "dotted"),
        (".metadata.labels.example.org/x", "nested"),
        (".metadata.labels.plain", "p"),
    ],
)
def test_an_escaped_dot_belongs_to_the_name(path: str, expected: str) -> None:
    """As in client-go: what is taken can be followed."""
    assert (True, expected) == (jsonpath.understood(path), jsonpath.first(path, OBJECT))


@pytest.mark.parametrize("path", [".a\\", r".a\b", r".\.a", '.items[?(@.a.b=="c")].name', "a", ""])
def test_what_cannot_be_followed_is_refused(path: str) -> None:
    """A definition with such a column is refused, instead of showing an empty one."""
    assert not jsonpath.understood(path)
