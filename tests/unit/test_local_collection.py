"""Revisions go as Knative's config-gc says, and say themselves whether anything leads to them."""

from typing import Any

import pytest

from kn_model.local.serving.collection import Retention, forgettable, labelled

NOW = "2026-03-10T00:00:00Z"
LONG_AGO = "2026-03-01T00:00:00Z"
DAY_AND_HALF_AGO = "2026-03-08T12:00:00Z"
SMALL = Retention(min_idle=1, max_idle=3)


def revision(
    name: str, *, state: str = "reserve", made: str = LONG_AGO, since: str = "", **extra: str
) -> dict[str, Any]:
    """A stored revision, in reserve since it was made unless said otherwise."""
    annotations = {"serving.knative.dev/routingStateModified": since or made} | extra
    labels = {"serving.knative.dev/routingState": state}
    return {"metadata": {"name": name, "creationTimestamp": made, "annotations": annotations, "labels": labels}}


PINNED = {"serving.knative.dev/no-gc": "true"}


@pytest.mark.parametrize(
    ("revisions", "gone"),
    [
        ([revision("a"), revision("b"), revision("c")], ["a", "b"]),
        ([revision("a", state="active"), revision("b"), revision("c")], ["b"]),
        ([revision("a", state="pending"), revision("b"), revision("c")], ["b"]),
        ([revision("a", **PINNED), revision("b"), revision("c")], ["b"]),
        ([revision("latest"), revision("b"), revision("c")], ["b"]),
        ([revision("a", made=DAY_AND_HALF_AGO), revision("b", made=DAY_AND_HALF_AGO)], []),
        ([revision("a", since="2026-03-09T20:00:00Z"), revision("b"), revision("c")], ["b", "c"]),
        ([revision(name, made=DAY_AND_HALF_AGO) for name in "abcde"], ["a", "b"]),
    ],
    ids=["stale", "routed", "not judged yet", "pinned", "latest ready", "young", "idle for hours", "too many"],
)
def test_what_goes(revisions: list[dict[str, Any]], gone: list[str]) -> None:
    """Stale ones beyond the least number, the oldest first; then those beyond the greatest number, stale or not."""
    assert gone == list(forgettable(revisions, "latest", SMALL, NOW))


def test_a_fresh_installation_keeps_twenty() -> None:
    """And more than those while they are young."""
    old = [revision(f"x-{number:05d}") for number in range(1, 24)]
    assert ["x-00001", "x-00002", "x-00003"] == list(forgettable(old, "", Retention(), NOW))
    young = [revision(f"x-{number:05d}", made=DAY_AND_HALF_AGO) for number in range(1, 24)]
    assert [] == list(forgettable(young, "", Retention(), NOW))


def test_config_gc_is_read() -> None:
    """Durations, numbers and `disabled`; what is not there or unreadable keeps Knative's default."""
    data = {
        "retain-since-create-time": "disabled",
        "retain-since-last-active-time": "90s",
        "min-non-active-revisions": "0",
        "max-non-active-revisions": "many",
    }
    assert Retention(None, 90.0, 0, 1000) == Retention.of({"data": data})
    assert Retention() == Retention.of(None)


def test_a_revision_says_whether_it_is_routed() -> None:
    """The time is that of the change of state, not of every look."""
    new = {"metadata": {"name": "x-00001", "creationTimestamp": LONG_AGO}}
    active = labelled(new, "x", LONG_AGO, routed=True)
    assert {"serving.knative.dev/routingState": "active"} == active["metadata"]["labels"]
    assert "x" == active["metadata"]["annotations"]["serving.knative.dev/routes"]
    assert active == labelled(active, "x", NOW, routed=True)
    reserve = labelled(active, "x", NOW, routed=False)
    assert {"serving.knative.dev/routingStateModified": NOW} == reserve["metadata"]["annotations"]
