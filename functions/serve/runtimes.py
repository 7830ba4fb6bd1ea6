"""Runtimes: what runs inside a server, one YAML file each; a new one needs no Python.

The built-in files lie in `runtimes/`; TORPOR_RUNTIMES_DIR names a folder with more, which win over a built-in of the
same name. A file named gpus.yaml is no runtime but a table of kinds of GPU.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from functions.serve.ask import Card
from functions.serve.families import Kind
from functions.serve.parameters import Parameter
from functions.serve.problems import NoRuntime, UnknownGpu, UnknownRuntime
from functions.serve.requests import Gpu

BUILT_IN: Final = Path(__file__).with_name("runtimes")
GPUS: Final = "gpus.yaml"


class RuntimeFileError(Exception):
    """A runtime file cannot be used; the message names the file and the field."""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """Every part of a runtime file: a misspelt field is an error, not a default."""


class Service(_File, frozen=True):
    """How one kind of model is served: further arguments, and the paths that clients may post to."""

    paths: tuple[Annotated[str, Meta(pattern=r"^/v[0-9]+(/[a-z0-9_-]+)+$")], ...]
    arguments: tuple[str, ...] = ()


class Needs(_File, frozen=True):
    """What the contract has to know; see `ask.Ask` for the meaning of each."""

    overhead_mb: int
    utilization: float
    block_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    usual_context: int
    staged: bool
    parallel_mb: int = 0
    batches: int = 1


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
    """One runtime file. image is what a cluster pulls unless TORPOR_ENGINE_IMAGE says otherwise.

    kinds: what it serves, and how. formats: the files that it loads. quantizations: as models' configurations name them.
    """

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
    kinds: Mapping[Kind, Service]
    formats: tuple[str, ...]
    quantizations: tuple[str, ...] = ()
    gpu: Gpu | None = None
    annotations: Mapping[str, str] = {}


class Runtimes:
    """The runtimes of this installation, and the kinds of GPU that it knows; read at first use."""

    def __init__(self, extra: str = "") -> None:
        """extra: a folder of further files, or an empty string."""
        self._folders = [BUILT_IN, *([Path(extra)] if extra else [])]
        self._found: dict[str, Runtime] = {}
        self._cards: dict[str, Card] = {}

    def get(self, name: str) -> Runtime:
        """The runtime of this name. Raises UnknownRuntime listing those that exist."""
        found = self._all()
        if name not in found:
            raise UnknownRuntime(f"{name[:63]!r} is not a runtime; there are: {', '.join(sorted(found))}")
        return found[name]

    def choose(self, needs: "Wants", usual: str) -> Runtime:
        """The usual runtime if it can; else the first by name that can, on the same device. Raises NoRuntime."""
        preferred = self.get(usual)
        others = [runtime for _, runtime in sorted(self._all().items()) if runtime.device == preferred.device]
        for runtime in (preferred, *others):
            if not needs.obstacle(runtime):
                return runtime
        why = "; ".join(dict.fromkeys(f"{runtime.name} {needs.obstacle(runtime)}" for runtime in (preferred, *others)))
        raise NoRuntime(f"{needs.title}: {why}")

    def cards(self) -> tuple[Card, ...]:
        """The kinds of GPU."""
        if not self._cards:
            self._cards = {card.name.lower(): card for folder in self._folders for card in read_cards(folder)}
        return tuple(self._cards.values())

    def card(self, name: str) -> Card:
        """A kind of GPU by its name, in any case. Raises UnknownGpu listing those that are known."""
        for card in self.cards():
            if card.name.lower() == name.lower():
                return card
        known = ", ".join(card.name for card in self.cards())
        raise UnknownGpu(f"no GPU is known as {name!r}: give its memory_mb, or one of {known}")

    def _all(self) -> dict[str, Runtime]:
        if not self._found:
            self._found = {runtime.name: runtime for folder in self._folders for runtime in _load(folder)}
        return self._found


class Wants(Struct, frozen=True):
    """What a model asks of a runtime. kinds: what it can do, what it is made for first."""

    kinds: tuple[Kind, ...]
    format: str
    quantization: str | None

    @property
    def title(self) -> str:
        """For people."""
        packed = f", quantised with {self.quantization}" if self.quantization else ""
        return f"a model in {self.format} files that can {' and '.join(self.kinds)}{packed}"

    def obstacle(self, runtime: Runtime) -> str:
        """Why this runtime cannot serve it; empty when it can."""
        if not set(self.kinds) & set(runtime.kinds):
            return f"can only {' and '.join(sorted(runtime.kinds))}"
        if self.format not in runtime.formats:
            return f"reads only {' and '.join(runtime.formats)}"
        if self.quantization and self.quantization not in runtime.quantizations:
            known = ", ".join(runtime.quantizations) or "nothing quantised"
            return f"does not load {self.quantization}, but {known}"
        return ""


def _load(folder: Path) -> Iterable[Runtime]:
    return [read(path) for path in sorted(folder.glob("*.yaml")) if path.name != GPUS]


def read_cards(folder: Path) -> list[Card]:
    """The kinds of GPU of one folder: a mapping of names to MB. Raises RuntimeFileError."""
    path = folder / GPUS
    table: dict[str, int] = _decoded(path, dict[str, Annotated[int, Meta(gt=0)]]) if path.exists() else {}
    return [Card(name, memory_mb) for name, memory_mb in table.items()]


def read(path: Path) -> Runtime:
    """Read one runtime file. Raises RuntimeFileError."""
    found: Runtime = _decoded(path, Runtime)
    return found


def _decoded(path: Path, shape: Any) -> Any:
    import yaml

    try:
        # LibYAML's, where PyYAML was built with it: ten times as fast, and a cold start waits for it.
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return msgspec.convert(yaml.load(path.read_text(encoding="utf-8"), Loader=loader), shape)  # noqa: S506  # a safe one
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise RuntimeFileError(f"{path.name}: {error}") from error
