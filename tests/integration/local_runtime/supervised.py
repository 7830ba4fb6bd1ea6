"""A process that plays the supervisor: a runtime on a database, with one service that runs. Prints the pid of its instance.

Run as `python supervised.py <database url> <folder>`; ends when it is killed.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import asyncpg

from kn_model.local.objects.storage import PostgresStorage


def _harness() -> Any:
    """The `conftest.py` beside this file."""
    spec = importlib.util.spec_from_file_location("harness", Path(__file__).with_name("conftest.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module
    spec.loader.exec_module(module)
    return module


async def main(database_url: str, folder: str) -> None:
    """Start, make a service, say the pid of its process, wait."""
    harness = _harness()
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=2)
    runtime = await harness.start(Path(folder), PostgresStorage(pool))
    await runtime.store.create(harness.echo("hello"))
    await runtime.ready("hello")
    print((await runtime.get("/_svc/torpor/hello/"))["pid"], flush=True)  # noqa: T201  # what the test reads
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
