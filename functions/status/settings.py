"""The settings of `status`; read once by `main.py`."""

from dataclasses import dataclass

from functions.kit.platform import Bucket, Platform
from functions.kit.settings import Keys, setting


@dataclass(frozen=True, kw_only=True)
class Settings(Platform, Bucket):
    """Where everything is, and what engines sign with."""

    engine_event_keys: Keys = setting(
        env="TORPOR_ENGINE_EVENT_KEY",
        why="verifies the usage and the starts that engines report; several with commas between: all verify",
    )
