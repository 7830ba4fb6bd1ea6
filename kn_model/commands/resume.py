"""`kn model resume`."""

from kn_model import rolling

COMMAND = rolling.decision("resume", "Let the held rollout of the server NAME go on; its step begins anew.")
