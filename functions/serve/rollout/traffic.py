"""Which revision gets how much: the `spec.traffic` of a server's Knative Service. Pure; called by `handlers`.

Whatever is asked for, all of 100 % goes somewhere, to revisions that are there, and exactly one entry follows the latest
revision: without one a new revision would be unreachable and never kept warm (serving, reconciler/labeler/metasync.go).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

# The candidate's own address is `candidate-<name>`, whatever part of the traffic it has; with the longest name that
# `names` allows, 50 of the 63 characters that DNS gives a label.
TAG: Final = "candidate"
WHOLE: Final = 100

Target = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """What a server's traffic should be.

    pinned: the revision that served before the latest one, empty when the latest serves. percent: the latest one's part.
    tagged: the latest has an address of its own. freed: a pinned revision without traffic is left out, so that nothing
    keeps its replicas.
    """

    pinned: str = ""
    percent: int = WHOLE
    tagged: bool = False
    freed: bool = False


def block(split: Split, present: Collection[str]) -> Sequence[Target]:
    """The `spec.traffic` for a split. present: the revisions that exist; one that was collected gets nothing."""
    if not split.pinned or split.pinned not in present:
        return [_latest(WHOLE, tagged=split.tagged)]
    if split.freed and split.percent == WHOLE:
        return [_latest(WHOLE, tagged=split.tagged)]
    stable = {"revisionName": split.pinned, "latestRevision": False, "percent": WHOLE - split.percent}
    return [stable, _latest(split.percent, tagged=split.tagged)]


def _latest(percent: int, *, tagged: bool) -> Target:
    return {"latestRevision": True, "percent": percent, **({"tag": TAG} if tagged else {})}


def tag_host(name: str, namespace: str) -> str:
    """The host name of a server's candidate."""
    return f"{TAG}-{name}.{namespace}.svc.cluster.local"
