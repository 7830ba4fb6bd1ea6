"""The options that say how a model is served, shared by `pull` and `serve`, and the request body that they make."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict

import click

# Option name -> where it goes in the body of POST /serve. Bounds are the function's to check: it answers with reasons.
_SCALE: Final = {"min_scale": "min", "max_scale": "max", "window": "window_s", "retention": "retention_s"}

# MB of one GPU, or the name of its kind; then how many.
_GPU: Final = re.compile(r"(?:(\d+)|((?!x\d)[A-Za-z][\w.-]*?))(?:x(\d+))?", re.ASCII)


class ServeBody(TypedDict, total=False):
    """The body of POST /serve without the model; what is left out is the function's choice."""

    name: str
    runtime: str
    gpu: dict[str, Any]
    scale: dict[str, int]
    memory_mb: int
    params: dict[str, Any]


def serving_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command receives them as keyword arguments for `serve_body`."""
    options = [
        click.option("--memory", type=int, metavar="MB", help="Memory of a replica's container."),
        click.option("--max-model-len", type=int, metavar="TOKENS", help="Context length; shorter needs less memory."),
        click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Engine parameter; repeatable."),
        click.option(
            "--gpu", metavar="MB|KIND[xCOUNT]", help="Memory of one GPU or its kind, and how many: 24576x2, H200."
        ),
        click.option("--runtime", help="The engine, such as vllm-cpu.  [default: by the model's kind]"),
        click.option("--min", "min_scale", type=int, help="Replicas that always run; 0 lets it sleep."),
        click.option("--max", "max_scale", type=int, help="Replicas at most."),
        click.option("--window", type=int, metavar="SECONDS", help="Quiet time after which it sleeps (from 6)."),
        click.option("--retention", type=int, metavar="SECONDS", help="How long the last replica stays beyond that."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def serve_body(options: Mapping[str, Any]) -> ServeBody:
    """The body that the options make. Raises click's UsageError for values that cannot be read."""
    body: ServeBody = {}
    params = parameters(options["params"])
    if options["max_model_len"] is not None:
        params["max_model_len"] = options["max_model_len"]
    if params:
        body["params"] = params
    scale = {field: options[option] for option, field in _SCALE.items() if options[option] is not None}
    if scale:
        body["scale"] = scale
    if options["memory"] is not None:
        body["memory_mb"] = options["memory"]
    if options["runtime"]:
        body["runtime"] = options["runtime"]
    if options["gpu"]:
        body["gpu"] = gpu(options["gpu"])
    return body


def parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is a JSON scalar where it reads as one, else text. Raises UsageError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise click.UsageError(f"--param {pair!r} is not NAME=VALUE")
        found[name] = _scalar(text)
    return found


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value


def gpu(text: str) -> dict[str, Any]:
    """`24576x2` or `H200x2`: MB of one GPU or the name of its kind, and how many. Raises UsageError."""
    found = _GPU.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--gpu {text!r} is not MB[xCOUNT] or KIND[xCOUNT], such as 24576x2 or H200")
    memory, kind, count = found.groups()
    return {**({"memory_mb": int(memory)} if memory else {"name": kind}), "count": int(count or "1")}
