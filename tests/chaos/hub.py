"""A hub of made-up models: good ones, one that lies about a digest, one whose weights are broken, one that runs code."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from kn_model.hub.app import build
from kn_model.hub.repository import Repositories
from kn_model.local import ports

OWNER: Final = "chaos"
# Name -> how a pull of it has to end.
ENDS: Final[Mapping[str, str]] = {
    "small": "available",
    "second": "available",
    "sharded": "available",
    "parts": "available",
    "lying": "failed",
    "broken": "failed",
    "pickled": "failed",
}
# More than two parts of the 5 MiB that S3 asks of each.
LARGE_BYTES: Final = 12 * 1024 * 1024
CONFIG: Final[Mapping[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 2048,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "torch_dtype": "bfloat16",
}
# Long enough that a transfer is under way when something dies.
SLOW_S: Final = 0.6

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def write(root: Path, chance: random.Random) -> None:
    """The repositories, below `root`."""
    for name in ENDS:
        folder = root / OWNER / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "tokenizer.json").write_text(json.dumps({"name": name}))
        _write_weights(folder, name, chance)


def _write_weights(folder: Path, name: str, chance: random.Random) -> None:
    if name == "pickled":
        (folder / "pytorch_model.bin").write_bytes(chance.randbytes(2000))
    elif name == "broken":
        (folder / "model.safetensors").write_bytes(safetensors("w", chance.randbytes(4096))[:-100])
    elif name == "sharded":
        shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
        for shard in shards:
            (folder / shard).write_bytes(safetensors(shard[:11], chance.randbytes(20_000)))
        index = {"metadata": {}, "weight_map": {shard[:11]: shard for shard in shards}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        size = LARGE_BYTES if name == "parts" else 30_000
        (folder / "model.safetensors").write_bytes(safetensors("w", chance.randbytes(size)))


def safetensors(name: str, data: bytes) -> bytes:
    """One tensor of BF16 as a file."""
    entry = {name: {"dtype": "BF16", "shape": [len(data) // 2], "data_offsets": [0, len(data)]}}
    header = json.dumps(entry).encode()
    return len(header).to_bytes(8, "little") + header + data


@asynccontextmanager
async def serving(root: Path, chance: random.Random) -> AsyncIterator[str]:
    """The hub's address while the block runs."""
    api, content = ports.free(2)
    app = build(Repositories(root), lambda: f"http://{ports.LOOPBACK}:{content}")
    app.middlewares.insert(0, _unwell(chance))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        for port in (api, content):
            await web.TCPSite(runner, ports.LOOPBACK, port).start()
        yield f"http://{ports.LOOPBACK}:{api}"
    finally:
        await runner.cleanup()


def _unwell(chance: random.Random) -> Any:
    """Slow by moments, out of order by moments, and lying about one repository's digests."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if chance.random() < 0.02:
            return web.Response(status=503)
        if request.path.startswith("/cdn/"):
            await asyncio.sleep(chance.random() * SLOW_S)
        try:
            answer = await handler(request)
        except ConnectionResetError:  # its reader was killed
            return web.Response(status=503)
        if (
            f"{OWNER}/lying" in request.path
            and isinstance(answer, web.Response)
            and answer.content_type.endswith("json")
        ):
            return web.Response(text=_with_lies(answer.text or ""), content_type="application/json")
        return answer

    return middleware


def _with_lies(text: str) -> str:
    """Another SHA-256 for the weights than they have."""
    document = json.loads(text)
    entries = document if isinstance(document, list) else document.get("siblings", [])
    for lfs in (entry["lfs"] for entry in entries if "lfs" in entry):
        lfs.update(dict.fromkeys(lfs.keys() & {"oid", "sha256"}, hashlib.sha256(b"not these bytes").hexdigest()))
    return json.dumps(document)
