"""How an engine answers under load: time to first token, tokens per second, and whether /health stays quick.

    python tests/bench/engine_load.py http://127.0.0.1:8000 MODEL [--key KEY] [--streams 8] [--tokens 128] [--rounds 3]

Used for docs/decisions/0005-engine-start.md, once against plain vLLM and once against ours, same flags, same machine.
"""

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass

import aiohttp

PROMPT = "Write a long story about a lighthouse, its keeper and the storm of the century."


@dataclass(frozen=True)
class Stream:
    """One finished stream: seconds to its first token, its tokens, seconds in all."""

    first_s: float
    tokens: int
    total_s: float


async def one(session: aiohttp.ClientSession, url: str, model: str, tokens: int, number: int) -> Stream:
    """Read one stream to its end. The number makes each prompt differ, so that no prefix is cached whole."""
    request = {
        "model": model,
        "messages": [{"role": "user", "content": f"{number}. {PROMPT}"}],
        "max_tokens": tokens,
        "min_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started, first, used = time.monotonic(), 0.0, 0
    async with session.post(f"{url}/v1/chat/completions", json=request) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                first = time.monotonic() - started
            used = (chunk.get("usage") or {}).get("completion_tokens", used)
    return Stream(first, used, time.monotonic() - started)


async def health(session: aiohttp.ClientSession, url: str, stop: asyncio.Event) -> list[float]:
    """Ask /health ten times a second until told to stop; how long each took."""
    took = []
    while not stop.is_set():
        started = time.monotonic()
        async with session.get(f"{url}/health") as answer:
            answer.raise_for_status()
        took.append(time.monotonic() - started)
        await asyncio.sleep(0.1)
    return took


async def measure(arguments: argparse.Namespace) -> None:
    """Print one line per round."""
    headers = {"authorization": f"Bearer {arguments.key}"} if arguments.key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        await one(session, arguments.url, arguments.model, 8, 0)
        for number in range(arguments.rounds):
            await measure_round(session, arguments, number)


async def measure_round(session: aiohttp.ClientSession, arguments: argparse.Namespace, number: int) -> None:
    """Run all streams of one round at once, with /health beside them."""
    stop = asyncio.Event()
    pulse = asyncio.create_task(health(session, arguments.url, stop))
    started = time.monotonic()
    jobs = [
        one(session, arguments.url, arguments.model, arguments.tokens, 1000 * (number + 1) + index)
        for index in range(arguments.streams)
    ]
    done = await asyncio.gather(*jobs)
    took = time.monotonic() - started
    stop.set()
    beats = await pulse
    result = {
        "streams": arguments.streams,
        "ttft_median_ms": round(statistics.median(stream.first_s for stream in done) * 1000, 1),
        "tokens_per_s": round(sum(stream.tokens for stream in done) / took, 1),
        "health_max_ms": round(max(beats) * 1000, 1),
    }
    print(json.dumps(result), flush=True)  # noqa: T201  # a benchmark's output


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--key", default="")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
