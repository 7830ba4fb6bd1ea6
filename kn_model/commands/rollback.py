"""`kn model rollback`."""

from kn_model import rolling

COMMAND = rolling.decision("rollback", "Give all of the traffic of the server NAME back to what served.")
