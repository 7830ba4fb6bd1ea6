"""From a model and a request to a plan: which runtime, with which arguments, in how much memory. Pure.

Called by the routes before a record is written, and by the event handler that creates the Knative Service: the same
function, so what was promised is what runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec import to_builtins

from functions.serve import architecture, contract, families, gguf, parameters, quantization
from functions.serve.ask import MIB, Ask, ModelFacts
from functions.serve.contract import Verdict
from functions.serve.families import Kind
from functions.serve.parameters import Scalar
from functions.serve.problems import NoRuntime, UnknownGpu
from functions.serve.requests import Gpu, ParameterValue, Scale, ServeOptions
from functions.serve.runtimes import Runtime, Runtimes, Scaling, Wants

# To pull an engine's image of 10 GB on a usual line.
_IMAGE_S: Final = 300
# What object storage brings to one node at the least.
_WEIGHTS_MB_S: Final = 100
# A usual request takes no more than a quarter of the context that it may have.
_USUAL_SHARE: Final = 4
# A decoder can also be asked for the vectors of its texts; what makes vectors cannot be asked to speak.
_ABLE: Final[Mapping[Kind, tuple[Kind, ...]]] = {"generate": ("generate", "embed")}


@dataclass(frozen=True, slots=True)
class Model:
    """A model record as far as serving needs it."""

    uuid: str
    name: str
    status: str
    metadata: Mapping[str, Any]

    @property
    def facts(self) -> ModelFacts:
        """What the contract reads from `model_metadata`; missing parts become empty, for the contract to refuse."""
        return ModelFacts(
            config=self.config,
            weights_bytes=int(self.metadata.get("weights_bytes") or 0),
            parameters=self.metadata.get("parameters") or {},
        )

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config.json; a GGUF file's metadata says the same."""
        stored = self.metadata.get("config")
        return stored if isinstance(stored, Mapping) and stored else gguf.config(self.metadata.get("gguf") or {})

    @property
    def kind(self) -> Kind:
        """What it is made for."""
        return families.kind(architecture.architecture_name(self.config), embeds=bool(self.metadata.get("embeds")))

    def wants(self, kinds: tuple[Kind, ...]) -> Wants:
        """What a runtime has to be able to do for it."""
        packed = quantization.read(self.config)
        return Wants(kinds, str(self.metadata.get("format") or "safetensors"), packed.method if packed else None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run. memory_mb is the container's limit; request_mb what it is scheduled with."""

    runtime: Runtime
    kind: Kind
    verdict: Verdict
    arguments: tuple[str, ...]
    scale: Scaling
    memory_mb: int
    request_mb: int
    gpus: int
    # The installation's default runtime runs in the same image, so TORPOR_ENGINE_IMAGE is meant for this one too.
    usual_image: bool
    # How long a call may take, where somebody asked for that.
    timeout_s: int | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The runtime's own, and the paths that the engine lets through."""
        return {**self.runtime.environment, "TORPOR_ENGINE_PATHS": json.dumps(self.runtime.kinds[self.kind].paths)}

    @property
    def start_s(self) -> int:
        """How long a start may take: what the runtime says, or what it takes to bring very large weights here."""
        return max(self.runtime.probe.start_s, _IMAGE_S + sum(self.verdict.weights_mb.values()) // _WEIGHTS_MB_S)

    def as_params(self, params: Mapping[str, ParameterValue]) -> dict[str, Any]:
        """What `server_records.runtime_params` shows."""
        return {
            "runtime": self.runtime.name,
            "kind": self.kind,
            "arguments": list(self.arguments),
            "params": dict(params),
            "scale": to_builtins(self.scale),
        }


def plan(model: Model, options: ServeOptions, known: Runtimes, default_runtime: str) -> Plan:
    """Make the plan; its verdict may be a refusal. Raises UnknownRuntime, NoRuntime, UnknownGpu, BadParameter."""
    runtime = _runtime(model, options, known, default_runtime)
    kind = next(kind for kind in _able(model) if kind in runtime.kinds)
    params = parameters.check(runtime.name, runtime.parameters, options.params)
    ask = replace(_ask(runtime, options, params, known), embeds=kind == "embed")
    verdict = contract.assess(model.facts, ask)
    memory = _container_memory(runtime, options, verdict)
    return Plan(
        runtime=runtime,
        kind=kind,
        verdict=verdict,
        arguments=tuple(_arguments(runtime, kind, ask, verdict, params)),
        scale=_scaling(runtime.scale, options.scale, _room(kind, verdict)),
        memory_mb=memory,
        request_mb=min(memory, verdict.total_mb) if runtime.device == "cpu" else memory,
        gpus=verdict.tensor_parallel if runtime.device == "gpu" else 0,
        usual_image=runtime.image == known.get(default_runtime).image,
        timeout_s=options.timeout_s,
    )


def _able(model: Model) -> tuple[Kind, ...]:
    return _ABLE.get(model.kind, (model.kind,))


def _runtime(model: Model, options: ServeOptions, known: Runtimes, usual: str) -> Runtime:
    """The one that the caller names, which may ask another thing of the model than it is made for; else by its kind."""
    if options.runtime is None:
        return known.choose(model.wants((model.kind,)), usual)
    runtime, wants = known.get(options.runtime), model.wants(_able(model))
    if obstacle := wants.obstacle(runtime):
        raise NoRuntime(f"{model.name} is {wants.title}; {runtime.name} {obstacle}")
    return runtime


def _gpu(gpu: Gpu | None, known: Runtimes) -> tuple[int, int]:
    """Memory in MB of each, and how many. Raises UnknownGpu for a name alone that nobody knows."""
    if gpu is None:
        raise UnknownGpu("the runtime's file names no GPU of its own: ask for one with gpu")
    return gpu.memory_mb or known.card(gpu.name).memory_mb, gpu.count


def _ask(runtime: Runtime, options: ServeOptions, params: Mapping[str, Scalar], known: Runtimes) -> Ask:
    needs = runtime.needs
    on_gpu = runtime.device == "gpu"
    memory, count = (options.memory_mb or runtime.resources.memory_mb, 1)
    if on_gpu:
        memory, count = _gpu(options.gpu or runtime.gpu, known)
    cache = runtime.parameters.get("kv_cache_dtype")
    return Ask(
        device=runtime.device,
        memory_mb=memory,
        count=count,
        overhead_mb=needs.overhead_mb,
        parallel_mb=needs.parallel_mb,
        utilization=float(params.get("gpu_memory_utilization", needs.utilization)),
        block_tokens=needs.block_tokens,
        batches=needs.batches,
        max_num_seqs=int(params.get("max_num_seqs", needs.max_num_seqs)),
        max_num_batched_tokens=int(params.get("max_num_batched_tokens", needs.max_num_batched_tokens)),
        usual_context=needs.usual_context,
        staged=needs.staged,
        max_model_len=_whole(params, "max_model_len"),
        concurrency=int(params.get("concurrency", 1)),
        dtype=str(params.get("dtype", "auto")),
        kv_cache_dtype=str(params.get("kv_cache_dtype", "auto")),
        tensor_parallel=_whole(params, "tensor_parallel_size"),
        kv_cache_dtypes=cache.choices if cache else (),
        cards=known.cards() if on_gpu else (),
    )


def _whole(params: Mapping[str, Scalar], name: str) -> int | None:
    return int(params[name]) if name in params else None


def _container_memory(runtime: Runtime, options: ServeOptions, verdict: Verdict) -> int:
    """On a CPU the model lives in the container; beside a GPU the files only pass through it."""
    if options.memory_mb is not None:
        return options.memory_mb
    passing = verdict.split.weights_mb if runtime.device == "gpu" else 0
    return runtime.resources.memory_mb + passing


def _arguments(runtime: Runtime, kind: Kind, ask: Ask, verdict: Verdict, params: Mapping[str, Scalar]) -> list[str]:
    """The engine's options: the runtime's own, what the contract decided, what the user chose."""
    decided = {
        "--max-model-len": verdict.max_model_len,
        "--max-num-seqs": ask.max_num_seqs,
        "--max-num-batched-tokens": verdict.batched_tokens,
    }
    shares: list[str] = []
    if runtime.device == "gpu":
        decided |= {"--tensor-parallel-size": verdict.tensor_parallel}
        shares = ["--gpu-memory-utilization", f"{ask.utilization:g}"]
    else:
        # Finer than VLLM_CPU_KVCACHE_SPACE, which counts whole GiB and which vLLM 0.32 calls legacy. An encoder keeps
        # nothing, but without a size vLLM would claim nine tenths of the machine.
        decided |= {"--kv-cache-memory-bytes": max(verdict.kv_cache_bytes, MIB)}
    flat = [text for flag, value in decided.items() for text in (flag, str(value))]
    return [
        *runtime.arguments,
        *runtime.kinds[kind].arguments,
        *flat,
        *shares,
        *parameters.arguments(runtime.parameters, params),
    ]


def _room(kind: Kind, verdict: Verdict) -> int | None:
    """How many usual requests fit into a replica's cache at once; None where there is none."""
    return _USUAL_SHARE * verdict.concurrency if kind == "generate" and verdict.concurrency else None


def _scaling(default: Scaling, asked: Scale, room: int | None) -> Scaling:
    """The request over the runtime's defaults; a minimum above the maximum raises the maximum.

    room: beyond so many requests at once a replica would only let them wait.
    """
    low = default.min if asked.min is None else asked.min
    return Scaling(
        min=low,
        max=max(low, asked.max or default.max),
        target=asked.target or min(default.target, room or default.target),
        window_s=asked.window_s or default.window_s,
        retention_s=default.retention_s if asked.retention_s is None else asked.retention_s,
    )
