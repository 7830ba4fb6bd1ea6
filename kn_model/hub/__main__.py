"""`python -m kn_model.hub`: serve the repositories in a directory until the process is told to stop."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from kn_model.hub import smollm2
from kn_model.hub.server import Hub


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, build SmolLM2 when asked to, and serve."""
    options = _parser().parse_args(arguments)
    try:
        if options.smollm2:
            smollm2.ensure(options.root, say=_say)
        asyncio.run(_serve(options.root, options.port))
    except (smollm2.ConversionError, OSError) as error:
        sys.stderr.write(f"hub: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kn_model.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one (default)")
    parser.add_argument(
        "--root", type=Path, default=smollm2.DEFAULT_ROOT, help="directory with <owner>/<name>/ (%(default)s)"
    )
    parser.add_argument("--smollm2", action="store_true", help=f"make sure that {smollm2.REPOSITORY} is there")
    return parser


async def _serve(root: Path, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Hub(root, port=port) as hub:
        _say(f"serving {root} at {hub.url}")
        with contextlib.suppress(asyncio.CancelledError):
            await stopped.wait()


def _say(line: str) -> None:
    sys.stdout.write(f"hub: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
