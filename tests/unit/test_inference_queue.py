"""How many calls of a server may be under way, and which rows are somebody's."""

from datetime import UTC, datetime, timedelta

import pytest

from functions.serve import planning
from functions.serve.inference import queue
from functions.serve.inference.queue import Places
from functions.serve.inference.states import INFERENCE, InferenceCause, InferenceState
from functions.serve.requests import Scale, ServeOptions
from functions.serve.runtimes import Runtimes
from tests.unit.test_serve_service import MODEL

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_plan_says_how_many_places_there_are() -> None:
    """What a record keeps of its plan: replicas at most, times the calls of each at once."""
    options = ServeOptions(scale=Scale(max=3, target=4))
    params = planning.plan(MODEL, options, Runtimes(), "vllm-cpu").as_params({})
    assert Places(60, 0).of({"runtime_params": params}) == 12


@pytest.mark.parametrize("params", [None, {}, {"scale": {}}, {"scale": {"max": None, "target": None}}])
def test_a_server_without_a_plan_has_one_place(params: object) -> None:
    """Its record failed before there was one."""
    assert Places(60, 0).of({"runtime_params": params}) == 1


def test_the_operators_number_wins() -> None:
    """Whatever the plan says."""
    assert Places(60, 5).of({"runtime_params": {"scale": {"max": 3, "target": 4}}}) == 5


@pytest.mark.parametrize(
    ("of_server", "of_all", "free"), [(0, 0, True), (1, 2, True), (2, 2, False), (1, 3, False), (0, 3, False)]
)
def test_there_is_a_place_while_neither_limit_is_reached(of_server: int, of_all: int, free: bool) -> None:  # noqa: FBT001
    """Two of a server, three in all."""
    assert Places(3, 2).free({"of_server": of_server, "of_all": of_all}, {"runtime_params": None}) is free


@pytest.mark.parametrize(
    ("status", "left_s", "held"),
    [("running", 1, True), ("running", -1, False), ("running", None, False), ("queued", 1, False)],
)
def test_a_lease_holds_until_it_runs_out(status: str, left_s: int | None, held: bool) -> None:  # noqa: FBT001
    """By the database's clock."""
    until = None if left_s is None else NOW + timedelta(seconds=left_s)
    assert queue.is_held({"status": status, "lease_until": until, "read_at": NOW}) is held


@pytest.mark.parametrize("state", [InferenceState.CANCELLED, InferenceState.EXPIRED, InferenceState.COMPLETED])
@pytest.mark.parametrize("cause", InferenceCause)
def test_nothing_leads_out_of_an_end(state: InferenceState, cause: InferenceCause) -> None:
    """Whatever arrives."""
    assert not queue.allows({"status": state}, cause)


def test_only_a_redrive_leads_out_of_failed() -> None:
    """By an operator, into the queue."""
    causes = [cause for cause in InferenceCause if queue.allows({"status": "failed"}, cause)]
    assert causes == [InferenceCause.REDRIVEN]
    assert INFERENCE.after(InferenceState.FAILED, InferenceCause.REDRIVEN) is InferenceState.QUEUED
