"""The table of rollouts: traffic only after proof, and whatever happens to one that has traffic, the traffic goes back."""

from pathlib import Path

import pytest

from functions.serve.rollout.states import ROLLOUT, RolloutCause, RolloutState

PAGE = Path(__file__).parents[2] / "docs" / "rollout.md"
LIVE = [state for state in RolloutState if state not in ROLLOUT.ends]
WITH_TRAFFIC = (RolloutState.STEPPING, RolloutState.PAUSED)


@pytest.mark.parametrize("state", LIVE)
def test_every_live_state_can_be_left_by_a_person(state: RolloutState) -> None:
    """Nothing is on trial for ever because nobody may end it."""
    assert ROLLOUT.after(state, RolloutCause.WITHDRAWN) is RolloutState.ROLLED_BACK
    assert ROLLOUT.after(state, RolloutCause.REPLACED) is RolloutState.SUPERSEDED


@pytest.mark.parametrize("state", WITH_TRAFFIC)
@pytest.mark.parametrize("cause", [RolloutCause.BROKEN, RolloutCause.BREACHED])
def test_what_is_bad_loses_its_traffic(state: RolloutState, cause: RolloutCause) -> None:
    """Held by a person or not."""
    assert ROLLOUT.after(state, cause) is RolloutState.ROLLED_BACK


def test_there_is_no_way_around_the_prompt() -> None:
    """From a candidate to traffic only through warming."""
    assert {after for (state, _), after in ROLLOUT.table.items() if state is RolloutState.CANDIDATE}.isdisjoint(
        {*WITH_TRAFFIC, RolloutState.PROMOTED}
    )


@pytest.mark.parametrize("state", sorted(ROLLOUT.ends))
def test_an_end_is_an_end(state: RolloutState) -> None:
    """Nothing leads out of it."""
    assert [after for (before, _), after in ROLLOUT.table.items() if before is state] == []


def test_the_page_has_the_table() -> None:
    """docs/rollout.md draws it as the code has it: `print(ROLLOUT.mermaid())`."""
    assert f"```mermaid\n{ROLLOUT.mermaid()}\n```" in PAGE.read_text(encoding="utf-8")
