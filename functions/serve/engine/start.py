"""Starts vLLM on a model, as fast as one process can: see docs/decisions/0005-engine-start.md for what was measured.

In this order: fork the fetch, import vLLM meanwhile with the collector off, configure once the small files are here,
and hand over to `server` when every byte is verified.
"""

import ctypes.util
import gc
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from functions.kit import log, trace
from functions.serve.engine import cores, fetch, phases
from functions.serve.engine.arguments import vllm_arguments
from functions.serve.engine.manifest import Refused
from functions.serve.engine.phases import since_start
from functions.serve.engine.settings import EngineSettings

_LOG = logging.getLogger("torpor.engine")

_PR_SET_PDEATHSIG: Final = 1
# vLLM's own switches. Nothing here changes an answer.
ENVIRONMENT: Final = {
    # The engine runs in one child process, forked from this one with everything imported; by default vLLM's CPU build
    # starts three more interpreters one inside the other, each importing everything again.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # No telemetry, no look-ups: an engine's pod may not reach the internet at all.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


def run(settings: EngineSettings, environ: MutableMapping[str, str]) -> None:
    """Serve until SIGTERM. Raises Refused when the engine cannot or must not start."""
    require_libnuma()
    # No forked process is left behind: on SIGTERM, until vLLM's server listens for it, by ending in order; on SIGKILL
    # because the kernel tells the children.
    signal.signal(signal.SIGTERM, _end)
    os.register_at_fork(after_in_child=_die_with_parent)
    environ.update({**ENVIRONMENT, **cores.environment(), **environ})
    begun_s, under_way = since_start(), fetch.begin(settings)
    try:
        _serve(settings, under_way, environ, begun_s)
    finally:
        under_way.discard()


def _serve(settings: EngineSettings, under_way: fetch.Fetch, environ: MutableMapping[str, str], begun_s: float) -> None:
    log.model_uuid.set(settings.model_uuid)
    with trace.inside(trace.parse(settings.traceparent)), collector_off():
        server = _imported()
        _log_phase("imported")
        _log_phase("configured", fetch_s=under_way.wait("configured"))
        server.register(architectures(under_way.directory))
        arguments = server.parse(vllm_arguments(settings, under_way.directory))
        fetch_s = under_way.wait("verified")
        phases.note(phases.FETCHED, begun_s + fetch_s)
        _log_phase("verified", fetch_s=fetch_s)
    server.serve(arguments, environ, loaded=partial(_loaded, under_way))


def _loaded(under_way: fetch.Fetch) -> None:
    phases.note(phases.LOADED)
    under_way.release()


def _end(*_: object) -> NoReturn:
    sys.exit("the engine was told to end before it was ready")


def _die_with_parent() -> None:
    """In a forked child: be killed when the parent is gone, however it went (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _imported() -> Any:
    """`server`, and with it vLLM: seconds of imports, so it is not at the top of this file."""
    try:
        return importlib.import_module("functions.serve.engine.server")
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed: this image needs requirements/engine-cpu.txt") from error


@contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection while thousands of modules are imported, none of which becomes garbage.

    What then exists is exempt from collection for good: the passes over it would find nothing, and writing their marks
    would copy pages that the forked engine shares with us.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def architectures(directory: Path) -> list[str]:
    """What the model's configuration calls its classes."""
    try:
        named = json.loads((directory / "config.json").read_bytes()).get("architectures", [])
    except (OSError, ValueError, AttributeError) as error:
        raise Refused(f"the model's config.json cannot be read: {error}") from error
    return [name for name in named if isinstance(name, str)]


def require_libnuma() -> None:
    """The CPU kernels of vLLM link against it and would fail later with a riddle. Raises Refused."""
    if sys.platform == "linux" and ctypes.util.find_library("numa") is None and not _loads("libnuma.so.1"):
        raise Refused("the system library libnuma is missing: run `apt-get install libnuma1`")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _log_phase(phase: str, **seconds: float) -> None:
    _LOG.info("start: %s", phase, extra={"phase": phase, "since_start_s": since_start(), **seconds})
