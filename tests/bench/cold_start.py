"""Cold start of the functions: process start to the first 200, against a stock functions-framework hello world.

Both run the same command line with their own `--source`, in turn, so that a slow moment of the machine meets both.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests import deliveries
from tests.bench.report import Row

ROUNDS = 9
AIM = 1.25
FUNCTIONS = ("auth", "download", "serve", "status")
HELLO = '''"""A stock hello world."""

def handle(request):
    return "hello"
'''
# RFC 8037, appendix A.1: a key for examples.
_SIGNING_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "example",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
# What main.py reads; nothing of it is opened before the first request that needs it.
ENVIRONMENT: Mapping[str, str] = {
    **deliveries.ENVIRONMENT,
    "TORPOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
    "TORPOR_SIGNING_KEYS": json.dumps({"keys": [_SIGNING_KEY]}),
    "TORPOR_S3_ENDPOINT": "http://127.0.0.1:9",
    "TORPOR_S3_REGION": "us-east-1",
    "TORPOR_S3_BUCKET": "torpor",
    "TORPOR_S3_ACCESS_KEY": "a",
    "TORPOR_S3_SECRET_KEY": "b",
    "TORPOR_INFERENCE_KEY": "c",
    "TORPOR_PUBLIC_URL": "http://127.0.0.1:9",
}


def rows() -> list[Row]:
    """One row a function."""
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "main.py"
        hello.write_text(HELLO)
        sources = {"hello": str(hello), **{name: f"functions/{name}/main.py" for name in FUNCTIONS}}
        samples: dict[str, list[float]] = {name: [] for name in sources}
        for turn in range(ROUNDS + 1):
            for name, source in sources.items():
                seconds = start_to_answer(source)
                # The first turn fills the page cache and writes the .pyc files.
                if turn:
                    samples[name].append(seconds)
    baseline = statistics.median(samples["hello"])
    return [_row(name, statistics.median(samples[name]), baseline) for name in FUNCTIONS]


def _row(name: str, ours: float, baseline: float) -> Row:
    ratio = ours / baseline
    what = f"{name}: process start to first 200, against a stock hello world"
    return Row(what, f"{ours * 1000:.0f} ms", f"{baseline * 1000:.0f} ms", f"{ratio:.2f}x", f"<= {AIM}x", ratio <= AIM)


def start_to_answer(source: str) -> float:
    """Seconds from starting the process until it answers 200."""
    port = _free_port()
    command = [sys.executable, "-m", "functions_framework", "--asgi", "--source", source, "--target", "handle"]
    environ = {**os.environ, **ENVIRONMENT, "PORT": str(port), "HOST": "127.0.0.1"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(f"http://127.0.0.1:{port}/healthz"):
            if process.poll() is not None:
                raise RuntimeError(f"{source} ended with {process.returncode} before it answered")
            time.sleep(0.002)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
