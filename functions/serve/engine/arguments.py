"""The command line that vLLM is given: what serve's contract chose, and what is not open to choice. Pure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from functions.serve.engine.manifest import Refused
from functions.serve.engine.settings import EngineSettings

# What a contract may set. Anything that opens a path, runs code from a repository, changes who may call or what
# leaves the process is not here (reliability S8): --trust-remote-code, --middleware, --api-key, --root-path, ...
ALLOWED: Final = frozenset(
    {
        "block-size",
        "convert",
        "cpu-offload-gb",
        "disable-log-stats",
        "dtype",
        "enable-auto-tool-choice",
        "enable-chunked-prefill",
        "enable-prefix-caching",
        "enforce-eager",
        "generation-config",
        "gpu-memory-utilization",
        "kv-cache-dtype",
        "kv-cache-memory-bytes",
        "max-model-len",
        "max-num-batched-tokens",
        "max-num-seqs",
        "no-enable-chunked-prefill",
        "no-enable-prefix-caching",
        "pipeline-parallel-size",
        "quantization",
        "reasoning-parser",
        "runner",
        "seed",
        "tensor-parallel-size",
        "tool-call-parser",
        "uvicorn-log-level",
    }
)


def vllm_arguments(settings: EngineSettings, directory: Path) -> list[str]:
    """Everything after `vllm serve`. Raises Refused for an argument that a contract may not set."""
    return [
        *chosen(settings.engine_args),
        f"--model={directory}",
        f"--host={settings.host}",
        f"--port={settings.port}",
        "--served-model-name",
        *dict.fromkeys((settings.server_name, settings.model_name)),
        "--middleware=functions.serve.engine.edge.Edge",
        "--enable-force-include-usage",
        f"--shutdown-timeout={settings.drain_s}",
        "--disable-fastapi-docs",
        "--disable-uvicorn-access-log",
        # No host at all: a picture's address in a prompt must not make the engine call it (reliability 2.3, SSRF).
        "--allowed-media-domains=none.invalid",
    ]


def chosen(engine_args: str) -> list[str]:
    """TORPOR_ENGINE_ARGS as a list of `--name` and `--name=value`. Raises Refused."""
    try:
        arguments = json.loads(engine_args)
    except ValueError as error:
        raise Refused(f"TORPOR_ENGINE_ARGS: not JSON: {error}") from error
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise Refused("TORPOR_ENGINE_ARGS: not a JSON list of strings")
    return _joined(arguments)


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--name value` pairs become one `--name=value`, so that a value can never be read as another argument."""
    joined: list[str] = []
    for argument in arguments:
        if argument.startswith("--"):
            name = argument[2:].partition("=")[0]
            if name not in ALLOWED:
                raise Refused(f"TORPOR_ENGINE_ARGS: --{name} may not be set by a contract")
            joined.append(argument)
        elif joined and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            raise Refused(f"TORPOR_ENGINE_ARGS: {argument!r} belongs to no argument")
    return joined
