"""A hub with one small model that the contract takes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kn_model.hub.server import Hub
from tests.unit.serve_models import SMOLLM2

TENSOR_BYTES = 1 << 20


@contextmanager
def hub_with_a_model(root: Path) -> Iterator[str]:
    """`acme/model` on a hub of its own; answers the hub's address."""
    folder = root / "acme" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    (folder / "model.safetensors").write_bytes(_tensor_file())
    loop, hub = asyncio.new_event_loop(), Hub(root)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(hub.__aenter__(), loop).result()
        yield hub.url
        asyncio.run_coroutine_threadsafe(hub.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _tensor_file() -> bytes:
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [TENSOR_BYTES // 2], "data_offsets": [0, TENSOR_BYTES]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(TENSOR_BYTES)
