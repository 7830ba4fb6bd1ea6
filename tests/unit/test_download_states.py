"""The states of models and files."""

import pytest

from functions.download.states import FILE, MODEL, Table, allowing, mermaid, target


@pytest.mark.parametrize(
    ("table", "event", "before", "after"),
    [
        (MODEL, "published", ["downloading"], "available"),
        (MODEL, "refused", ["downloading"], "failed"),
        (MODEL, "retried", ["failed"], "downloading"),
        (MODEL, "deleted", ["downloading", "available", "failed"], "deleted"),
        (FILE, "claimed", ["pending", "transferring"], "transferring"),
        (FILE, "verified", ["transferring"], "verified"),
        (FILE, "abandoned", ["transferring"], "pending"),
    ],
)
def test_an_event_leads_from_its_states_to_one(table: Table, event: str, before: list[str], after: str) -> None:
    """What is not listed cannot happen: an available model is never published or cancelled again."""
    assert (allowing(table, event), target(table, event)) == (before, after)


@pytest.mark.parametrize("table", [MODEL, FILE])
def test_every_event_has_one_target(table: Table) -> None:
    """Statements set the state by the event's name alone."""
    assert all(target(table, event) for _, event in table)


def test_nothing_leaves_a_deleted_model_or_a_verified_file() -> None:
    """Both are final."""
    assert not [state for state, _ in (*MODEL, *FILE) if state in {"deleted", "verified"}]


def test_an_unknown_event_is_a_bug() -> None:
    """A misspelt event fails at once."""
    with pytest.raises(KeyError):
        allowing(MODEL, "publish")


def test_the_diagram_has_every_edge() -> None:
    """The documentation's picture is made from the table."""
    assert mermaid(MODEL).count("-->") == len(MODEL)
