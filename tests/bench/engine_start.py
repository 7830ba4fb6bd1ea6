"""Cold start of an engine: process start to /health 200, ours against plain vLLM, in turn, same model and same flags.

    python -m tests.bench.engine_start [ROUNDS]

Plain vLLM reads the model from local disk and verifies nothing. Ours fetches it from S3, verifies every byte and guards
its door; it has to be faster all the same. Needs the real vLLM, and minutes.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from kn_model.hub import smollm2
from tests.bench.report import Row, markdown
from tests.conformance.engines import ENGINE_ARGS, KV_CACHE_BYTES, running, stored_model, vllm
from tests.conformance.platform import Platform, serve

ROUNDS = 3
AIM = 0.65


def rows(rounds: int = ROUNDS) -> list[Row]:
    """One row."""
    plain, ours = samples(rounds)
    baseline, figure = statistics.median(plain), statistics.median(ours)
    ratio = figure / baseline
    what = "revision: process start to ready with SmolLM2-135M on the CPU, against plain vLLM with the same flags"
    return [Row(what, f"{figure:.1f} s", f"{baseline:.1f} s", f"{ratio:.2f}x", f"<= {AIM}x", ratio <= AIM)]


def samples(rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each round, plain and ours. One more round of each warms the page cache and is not counted."""
    source = smollm2.ensure()
    platform = Platform()
    auth = serve(platform)
    with tempfile.TemporaryDirectory() as name, stored_model(Path(name), source) as settings:
        log = Path(name) / "log"
        pairs = [
            (_ready_s(partial(plain, source), platform, {}, log), _ready_s(vllm, platform, settings, log))
            for _ in range(rounds + 1)
        ]
    auth.shutdown()
    auth.server_close()
    return [pair[0] for pair in pairs[1:]], [pair[1] for pair in pairs[1:]]


def plain(source: Path, port: int) -> list[str]:
    """Stock vLLM with the flags that ours gets from its contract."""
    where = [f"--model={source}", "--host=127.0.0.1", f"--port={port}", f"--kv-cache-memory-bytes={KV_CACHE_BYTES}"]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *where, *ENGINE_ARGS]


def _ready_s(command: Callable[[int], list[str]], platform: Platform, environ: Mapping[str, str], log: Path) -> float:
    with running(command, platform, environ, log) as engine:
        sys.stderr.write(f"{command(0)[2]}: ready in {engine.ready_s:.1f} s\n")
        return engine.ready_s


if __name__ == "__main__":
    sys.stdout.write(markdown(rows(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)) + "\n")
