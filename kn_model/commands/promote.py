"""`kn model promote`."""

from kn_model import rolling

COMMAND = rolling.decision(
    "promote", "Give what is on trial on the server NAME all of the traffic, whatever its figures."
)
