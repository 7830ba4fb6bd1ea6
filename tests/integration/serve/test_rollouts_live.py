"""Rollouts on the laptop runtime as it is: functions, Broker, engines, callers. One runtime, one story, in this order."""

from collections.abc import Iterator

import pytest

from tests.integration.serve.rolling_laptop import Rolling, rolling


@pytest.fixture(scope="module")
def tiny() -> Iterator[Rolling]:
    """`tiny` serves the model `good`."""
    with rolling() as running:
        yield running


def test_a_good_model_is_promoted_under_traffic(tiny: Rolling) -> None:
    """Step by step, with nobody noticing."""
    with tiny.called():
        tiny.roll("better")
        ended = tiny.until_ended("better")
        tiny.until_latest()
    assert (ended["status"], tiny.status()["model_name"]) == ("promoted", "better")
    assert {answer.status for answer in tiny.answers} == {200}


@pytest.mark.parametrize(
    ("model", "state", "said"),
    [
        pytest.param("garbage", "failed", "answered its prompt with '!!!!", id="garbage"),
        pytest.param("failing", "rolled_back", "requests failed", id="fails 5 %"),
        pytest.param("slow", "rolled_back", "p95 time to first token", id="slow"),
    ],
)
def test_a_bad_model_is_rolled_back_under_traffic(tiny: Rolling, model: str, state: str, said: str) -> None:
    """By itself, with the numbers as the reason; the record names what serves all the time."""
    with tiny.called():
        # An error in twenty: two of them, which is the fewest that count, come with forty requests.
        tiny.roll(model, min_requests=40 if model == "failing" else 20)
        ended = tiny.until_ended(model)
        tiny.until_latest()
    assert (ended["status"], said in ended["error"], tiny.status()["model_name"]) == (state, True, "better")


def test_replace_on_the_laptop(tiny: Rolling) -> None:
    """The old engine ends, the new one starts with the prompt, and has everything."""
    tiny.roll("good", strategy="replace")
    assert tiny.until_ended("good")["status"] == "promoted"
    tiny.until_latest()
