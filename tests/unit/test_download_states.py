"""The states of models and files; what holds for every table is in test_states.py."""

import pytest

from functions.download.states import FILE, MODEL, FileCause, ModelCause


@pytest.mark.parametrize(
    ("cause", "before", "after"),
    [
        (ModelCause.PUBLISHED, ["downloading"], "available"),
        (ModelCause.REFUSED, ["downloading"], "failed"),
        (ModelCause.RETRIED, ["failed"], "downloading"),
        (ModelCause.DELETED, ["downloading", "available", "failed"], "deleted"),
    ],
)
def test_a_cause_leads_from_its_states_to_one(cause: ModelCause, before: list[str], after: str) -> None:
    """What is not listed cannot happen: an available model is never published or cancelled again."""
    assert (MODEL.allowing(cause), MODEL.target(cause)) == (before, after)


@pytest.mark.parametrize("cause", ModelCause)
def test_every_cause_of_a_model_has_one_target(cause: ModelCause) -> None:
    """Statements set the state by the cause alone."""
    assert MODEL.target(cause)


@pytest.mark.parametrize(
    ("cause", "before", "after"),
    [
        (FileCause.CLAIMED, ["pending", "transferring"], "transferring"),
        (FileCause.VERIFIED, ["transferring"], "verified"),
        (FileCause.ABANDONED, ["transferring"], "pending"),
        (FileCause.REFUSED, ["pending", "transferring"], "failed"),
    ],
)
def test_so_it_is_with_files(cause: FileCause, before: list[str], after: str) -> None:
    """A verified file is never transferred or refused again."""
    assert (FILE.allowing(cause), FILE.target(cause)) == (before, after)


@pytest.mark.parametrize("cause", FileCause)
def test_every_cause_of_a_file_has_one_target(cause: FileCause) -> None:
    """Statements set the state by the cause alone."""
    assert FILE.target(cause)
