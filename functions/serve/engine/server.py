"""vLLM's OpenAI server in this process. Importing this module imports vLLM; only `start` does.

Follows `vllm.entrypoints.launchers.api_server.entry` of 0.32 step by step; what differs has its reason beside it.
"""

import gc
from argparse import Namespace
from collections.abc import Callable, MutableMapping, Sequence

import jwt  # noqa: F401  # the edge imports it with its first token; the first caller should not wait for that
import uvloop

# The engine's own modules: imported before the fork, they need not be imported after it.
import vllm.v1.engine.core
import vllm.v1.worker.cpu_worker  # noqa: F401  # likewise
from vllm import ModelRegistry
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.entry import build_and_serve
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.launchers.launcher import setup_server
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM


def register(architectures: Sequence[str]) -> None:
    """Import the model's class here, so that vLLM need not start an interpreter only to look at it."""
    for name in architectures:
        lazy = ModelRegistry.models.get(name)
        if lazy is not None:
            ModelRegistry.register_model(name, lazy.load_model_cls())


def parse(arguments: Sequence[str]) -> Namespace:
    """The parser of vLLM and checks."""
    parsed: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(list(arguments))
    validate_parsed_serve_args(parsed)
    return parsed


def serve(arguments: Namespace, environ: MutableMapping[str, str], loaded: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. `loaded` is called once the weights are in the engine."""
    uvloop.run(_serve(arguments, environ, loaded))


async def _serve(arguments: Namespace, environ: MutableMapping[str, str], loaded: Callable[[], None]) -> None:
    address, listener = setup_server(arguments, reuse_port=False)
    config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    # The CPU platform has just set "spawn", for workers that it binds to cores; there is one worker here, inside the
    # engine's process, and forking that process saves it all imports.
    environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    gc.freeze()
    engine = AsyncLLM.from_vllm_config(
        vllm_config=config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        enable_log_requests=arguments.enable_log_requests,
        disable_log_stats=arguments.disable_log_stats,
    )
    try:
        loaded()
        await engine.reset_mm_cache()
        shutdown = await build_and_serve(engine, address, listener, arguments)
    finally:
        engine.shutdown(timeout=config.shutdown_timeout)
    try:
        await shutdown
    finally:
        listener.close()
