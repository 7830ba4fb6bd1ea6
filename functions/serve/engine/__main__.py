"""The container command of a revision: `python -m functions.serve.engine`. Glue; everything is in `start`."""

import os
import sys

from functions.kit import log, trace
from functions.kit.settings import SettingsError, load
from functions.serve.engine import start
from functions.serve.engine.manifest import Refused
from functions.serve.engine.settings import EngineSettings

if __name__ == "__main__":
    log.configure()
    try:
        trace.export(os.environ, "engine", flush_on_signal=False)
        start.run(load(EngineSettings, os.environ), os.environ)
    except (Refused, SettingsError) as refusal:
        print(f"the engine does not start: {refusal}", file=sys.stderr, flush=True)  # noqa: T201  # the last word
        # Without the interpreter's farewell: native libraries would write a page of leaks below this one line.
        os._exit(1)
