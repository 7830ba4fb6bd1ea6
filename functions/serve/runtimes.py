"""Runtimes: what runs inside a server, one YAML file each; a new one needs no Python.

The built-in files lie in `runtimes/`; TORPOR_RUNTIMES_DIR names a folder with more, which win over a built-in of the
same name. Parameters of users pass through the file's allow-list: no type exists that lets free text through, so no
option, path or second command can be smuggled in.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from functions.serve.problems import BadParameter, UnknownRuntime
from functions.serve.requests import Gpu, ParameterValue

BUILT_IN: Final = Path(__file__).with_name("runtimes")
Scalar = bool | int | float | str


class RuntimeFileError(Exception):
    """A runtime file cannot be used; the message names the file and the field."""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """Every part of a runtime file: a misspelt field is an error, not a default."""


class Parameter(_File, frozen=True):
    """One parameter that users may set. flag: the engine's option, absent where only the contract reads it.

    negation: the option for a boolean's `false`; without it `false` is what the engine does anyway.
    """

    type: Literal["integer", "number", "boolean", "choice"]
    flag: str | None = None
    negation: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


class Needs(_File, frozen=True):
    """What the contract has to know; see `sizing.Ask` for the meaning of each."""

    overhead_mb: int
    utilization: float
    block_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    usual_context: int
    staged: bool


class Resources(_File, frozen=True):
    """The container's request of CPU (Kubernetes quantity) and, unless a server asks otherwise, its memory in MB."""

    cpu: str
    memory_mb: int


class Scaling(_File, frozen=True):
    """Defaults of `requests.Scale`."""

    min: int
    max: int
    target: int
    window_s: int
    retention_s: int


class Probe(_File, frozen=True):
    """How a replica says that it can answer. start_s: how long it may take, also the revision's progress deadline."""

    path: str
    period_s: int
    timeout_s: int
    start_s: int


class Runtime(_File, frozen=True):
    """One runtime file. image is what a cluster pulls unless TORPOR_ENGINE_IMAGE says otherwise."""

    name: Annotated[str, Meta(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    device: Literal["cpu", "gpu"]
    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    needs: Needs
    resources: Resources
    scale: Scaling
    probe: Probe
    parameters: Mapping[str, Parameter]
    gpu: Gpu | None = None
    annotations: Mapping[str, str] = {}


class Runtimes:
    """The runtimes of this installation, read at first use."""

    def __init__(self, extra: str = "") -> None:
        """extra: a folder of further files, or an empty string."""
        self._folders = [BUILT_IN, *([Path(extra)] if extra else [])]
        self._found: dict[str, Runtime] = {}

    def get(self, name: str) -> Runtime:
        """The runtime of this name. Raises UnknownRuntime listing those that exist."""
        if not self._found:
            self._found = {runtime.name: runtime for folder in self._folders for runtime in _load(folder)}
        if name not in self._found:
            raise UnknownRuntime(f"{name[:63]!r} is not a runtime; there are: {', '.join(sorted(self._found))}")
        return self._found[name]


def _load(folder: Path) -> Iterable[Runtime]:
    return [read(path) for path in sorted(folder.glob("*.yaml"))]


def read(path: Path) -> Runtime:
    """Read one file. Raises RuntimeFileError."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Runtime)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise RuntimeFileError(f"{path.name}: {error}") from error


def check_parameters(runtime: Runtime, params: Mapping[str, ParameterValue]) -> dict[str, Scalar]:
    """The parameters as the engine takes them. Raises BadParameter naming the first that is not allowed."""
    return {name: _check(runtime, name, value) for name, value in sorted(params.items()) if value is not None}


def _check(runtime: Runtime, name: str, value: Scalar) -> Scalar:
    parameter = runtime.parameters.get(name)
    if parameter is None:
        allowed = ", ".join(sorted(runtime.parameters))
        raise BadParameter(f"{name[:63]!r} is not a parameter of {runtime.name}; allowed are: {allowed}")
    if not _fits(parameter, value):
        raise BadParameter(f"{name} is {str(value)[:63]!r}; it has to be {_described(parameter)}")
    return value


def _fits(parameter: Parameter, value: Scalar) -> bool:
    if parameter.type == "choice":
        return isinstance(value, str) and value in parameter.choices
    if parameter.type == "boolean":
        return isinstance(value, bool)
    kinds: tuple[type, ...] = (int,) if parameter.type == "integer" else (int, float)
    if isinstance(value, bool | str) or not isinstance(value, kinds):
        return False
    above = parameter.minimum is None or value >= parameter.minimum
    return above and (parameter.maximum is None or value <= parameter.maximum)


def _described(parameter: Parameter) -> str:
    if parameter.type == "choice":
        return f"one of {', '.join(parameter.choices)}"
    if parameter.type == "boolean":
        return "true or false"
    kind = "an integer" if parameter.type == "integer" else "a number"
    low = f" from {parameter.minimum:g}" if parameter.minimum is not None else ""
    high = f" to {parameter.maximum:g}" if parameter.maximum is not None else ""
    return f"{kind}{low}{high}"


def arguments(runtime: Runtime, params: Mapping[str, Scalar]) -> list[str]:
    """The engine's options for checked parameters, in the order of their names."""
    found: list[str] = []
    for name, value in params.items():
        parameter = runtime.parameters[name]
        option = parameter.negation if value is False else parameter.flag
        if option is not None:
            found += [option] if isinstance(value, bool) else [option, str(value)]
    return found
