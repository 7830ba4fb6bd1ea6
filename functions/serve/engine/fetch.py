"""Gets a model out of S3 while the engine's imports run, and proves every byte on the way.

`start` calls `begin` first of all: a second process, on another core and with its own interpreter lock, reads the
manifest, writes the small files into a private directory and the weights into sealed memory files (or to disk), each
hashed as it arrives. vLLM then loads from that directory as from any other.

What is proven: the bytes that vLLM loads have the SHA-256 that download verified. A memory file is sealed against
writing, so nothing can change it afterwards; a file on disk is only private (directory mode 0700, file 0400).
"""

import asyncio
import logging
import multiprocessing
import shutil
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from functions.kit.objects import S3Objects
from functions.kit.problem import Problem
from functions.serve.engine.manifest import Refused
from functions.serve.engine.settings import EngineSettings
from functions.serve.engine.transfer import Order, close_all, fetch_model

_LOG = logging.getLogger("torpor.engine")


@dataclass(frozen=True, slots=True)
class Step:
    """A message from the fetching process. error: why it refuses; empty when all is well. seconds: since it began."""

    name: str
    seconds: float
    error: str = ""


class Fetch:
    """The fetch under way, as the engine's process sees it."""

    def __init__(self, directory: Path, connection: Connection) -> None:
        self.directory = directory
        self._connection = connection

    def wait(self, step: str) -> float:
        """Block until `step` (configured, verified) is done; answer its seconds. Raises Refused."""
        while True:
            message = self._next()
            if message.error:
                raise Refused(message.error)
            if message.name == step:
                return message.seconds

    def _next(self) -> Step:
        try:
            message: Step = self._connection.recv()
        except EOFError:
            raise Refused("the fetching process ended without a word; see its traceback above") from None
        return message

    def release(self) -> None:
        """The weights are loaded: let the fetching process and its memory go."""
        self._connection.send(None)
        self._connection.close()

    def discard(self) -> None:
        """The engine ends: remove the small files."""
        shutil.rmtree(self.directory, ignore_errors=True)


def begin(settings: EngineSettings) -> Fetch:
    """Start fetching in a process of its own. Call it before anything heavy is imported: the process is a fork."""
    directory = Path(tempfile.mkdtemp(prefix="torpor-model-"))
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    context.Process(target=_run, args=(settings, directory, theirs, ours), daemon=True).start()
    theirs.close()
    return Fetch(directory, ours)


def _run(settings: EngineSettings, directory: Path, connection: Connection, parents: Connection) -> None:
    """The fetching process. It stays until its parent lets it go: the memory files are reached through it."""
    parents.close()
    started = time.monotonic()

    def say(name: str, error: str = "") -> None:
        connection.send(Step(name, round(time.monotonic() - started, 3), error))

    order = Order(settings.model_uuid, directory, settings.weights_in, settings.fetch_parallel)
    try:
        sinks = asyncio.run(fetch_model(_objects(settings), order, lambda: say("configured")))
    except Refused as refusal:
        return say("refused", str(refusal))
    except Problem as problem:
        return say("refused", f"the model cannot be fetched: {problem.detail}")
    say("verified")
    _wait_for_release(connection)
    return close_all(sinks)


def _wait_for_release(connection: Connection) -> None:
    try:
        connection.recv()
    except EOFError:
        _LOG.info("the engine ended before it had loaded the weights")


def _objects(settings: EngineSettings) -> S3Objects:
    return S3Objects(
        settings.s3_endpoint, settings.s3_region, settings.s3_access_key, settings.s3_secret_key, settings.s3_bucket
    )
