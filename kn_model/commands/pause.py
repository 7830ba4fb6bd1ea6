"""`kn model pause`."""

from kn_model import rolling

COMMAND = rolling.decision(
    "pause", "Hold the rollout of the server NAME: what is on trial keeps its part of the traffic."
)
