"""What a seed stands for: which kills in which order, which pauses between them, and a dice of its own for each part.

Pure. A replay makes the same decisions in the same order; when a process is scheduled, the machine decides.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Of all kills. A function's worker dies most often: that is what a pod that runs out of memory looks like.
SHARES: Final[Mapping[str, float]] = {
    "worker": 0.51,
    "instance": 0.18,
    "supervisor": 0.10,
    "postgres": 0.10,
    "backend": 0.08,
    "s3": 0.03,
}
ONLY: Final[Mapping[str, Sequence[str]]] = {
    "functions": ("worker", "instance"),
    "broker": ("supervisor",),
    "postgres": ("postgres", "backend"),
}
# Beside the kills: what hurts without ending a process. Cuts, delays and doubles of events are in wire.py.
HINDRANCES: Final = ("freeze", "terminate")
# One in so many kills of the supervisor is followed by another while it starts.
AGAIN_WHILE_STARTING: Final = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One disturbance: seconds after the one before, its kind, and which of the candidates it hits (0 to 1)."""

    pause_s: float
    kind: str
    pick: float


def dice(seed: int, part: str) -> random.Random:
    """A generator for one part, so that parts do not disturb each other's decisions."""
    return random.Random(f"{seed}/{part}")  # noqa: S311  # repeatable is what it has to be


def kills(seed: int, count: int, every_s: float, only: str | None) -> Sequence[Step]:
    """`count` kills in random order, `every_s` seconds apart on average."""
    allowed = {kind: share for kind, share in SHARES.items() if only is None or kind in ONLY[only]}
    total = sum(allowed.values())
    kinds = [kind for kind, share in allowed.items() for _ in range(round(count * share / total))]
    kinds = (kinds + [next(iter(allowed))] * count)[:count]
    chance = dice(seed, "kills")
    chance.shuffle(kinds)
    return [Step(chance.expovariate(1 / every_s), kind, chance.random()) for kind in kinds]


def hindrances(seed: int, count: int, every_s: float) -> Sequence[Step]:
    """Likewise what hinders without killing."""
    chance = dice(seed, "hindrances")
    return [Step(chance.expovariate(1 / every_s), chance.choice(HINDRANCES), chance.random()) for _ in range(count)]
