"""Time to first token through the front door, against the same engine asked directly, in turn, over kept-alive connections."""

import statistics
import time
from typing import Final

import httpx
import psutil

from kn_model import laptop
from kn_model.demo.process import below
from kn_model.demo.runtime import RunningRuntime
from kn_model.session import log_in_to_laptop
from tests.bench.report import Row

ROUNDS: Final = 60
WARM_UP: Final = 5
AIM_MS: Final = 3.0


def row(running: RunningRuntime, server: str) -> Row:
    """Medians of both, and their difference."""
    authorization = {"Authorization": f"Bearer {log_in_to_laptop(laptop.running(running.folder)).token}"}
    door, direct = f"{running.url}/m/{server}", f"http://127.0.0.1:{_engine_port(running, server)}"
    with httpx.Client(headers=authorization, trust_env=False, timeout=60) as http:
        pairs = [(_first_ms(http, door, server), _first_ms(http, direct, server)) for _ in range(ROUNDS + WARM_UP)]
    ours = statistics.median(pair[0] for pair in pairs[WARM_UP:])
    baseline = statistics.median(pair[1] for pair in pairs[WARM_UP:])
    added = ours - baseline
    what = "time to first token through the front door, engine warm, against the engine asked directly (p50)"
    return Row(
        what, f"{ours:.1f} ms", f"{baseline:.1f} ms", f"+{added:.1f} ms", f"<= +{AIM_MS:.0f} ms", added <= AIM_MS
    )


def _first_ms(http: httpx.Client, url: str, server: str) -> float:
    body = {
        "model": server,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 2,
        "temperature": 0,
        "stream": True,
    }
    started = time.perf_counter()
    with http.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        chunks = answer.iter_raw()
        next(chunks)
        first = time.perf_counter() - started
        for _ in chunks:
            pass
    return first * 1000


def _engine_port(running: RunningRuntime, server: str) -> int:
    for process in below(running.pid):
        try:
            environ = process.environ()
        except psutil.Error:
            continue
        if environ.get("K_SERVICE") == server:
            return int(environ["PORT"])
    raise RuntimeError(f"no process of {server} runs")
