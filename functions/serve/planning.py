"""From a model and a request to a plan: which runtime, with which arguments, in how much memory. Pure.

Called by the routes before a record is written, and by the event handler that creates the Knative Service: the same
function, so what was promised is what runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import to_builtins

from functions.serve import contract, runtimes
from functions.serve.contract import Verdict
from functions.serve.requests import Gpu, ParameterValue, Scale, ServeOptions
from functions.serve.runtimes import Runtime, Runtimes, Scalar, Scaling
from functions.serve.sizing import Ask, ModelFacts

_NO_GPU: Final = Gpu(memory_mb=256)


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
            config=self.metadata.get("config") or {},
            weights_bytes=int(self.metadata.get("weights_bytes") or 0),
            parameters=self.metadata.get("parameters") or {},
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run. memory_mb is the container's limit; request_mb what it is scheduled with."""

    runtime: Runtime
    verdict: Verdict
    arguments: tuple[str, ...]
    scale: Scaling
    memory_mb: int
    request_mb: int
    gpus: int

    def as_params(self, params: Mapping[str, ParameterValue]) -> dict[str, Any]:
        """What `server_records.runtime_params` shows."""
        return {
            "runtime": self.runtime.name,
            "arguments": list(self.arguments),
            "params": dict(params),
            "scale": to_builtins(self.scale),
        }


def plan(model: Model, options: ServeOptions, known: Runtimes, default_runtime: str) -> Plan:
    """Make the plan; its verdict may be a refusal. Raises UnknownRuntime, BadParameter."""
    runtime = known.get(options.runtime or default_runtime)
    params = runtimes.check_parameters(runtime, options.params)
    ask = _ask(runtime, options, params)
    verdict = contract.assess(model.facts, ask)
    memory = _container_memory(runtime, options, verdict)
    return Plan(
        runtime=runtime,
        verdict=verdict,
        arguments=tuple(_arguments(runtime, ask, verdict, params)),
        scale=_scaling(runtime.scale, options.scale),
        memory_mb=memory,
        request_mb=min(memory, verdict.total_mb) if runtime.device == "cpu" else memory,
        gpus=verdict.tensor_parallel if runtime.device == "gpu" else 0,
    )


def _ask(runtime: Runtime, options: ServeOptions, params: Mapping[str, Scalar]) -> Ask:
    needs = runtime.needs
    gpu = options.gpu or runtime.gpu or _NO_GPU
    on_gpu = runtime.device == "gpu"
    return Ask(
        device=runtime.device,
        memory_mb=gpu.memory_mb if on_gpu else options.memory_mb or runtime.resources.memory_mb,
        count=gpu.count if on_gpu else 1,
        overhead_mb=needs.overhead_mb,
        utilization=float(params.get("gpu_memory_utilization", needs.utilization)),
        block_tokens=needs.block_tokens,
        max_num_seqs=int(params.get("max_num_seqs", needs.max_num_seqs)),
        max_num_batched_tokens=int(params.get("max_num_batched_tokens", needs.max_num_batched_tokens)),
        usual_context=needs.usual_context,
        staged=needs.staged,
        max_model_len=_whole(params, "max_model_len"),
        concurrency=int(params.get("concurrency", 1)),
        dtype=str(params.get("dtype", "auto")),
        kv_cache_dtype=str(params.get("kv_cache_dtype", "auto")),
        tensor_parallel=_whole(params, "tensor_parallel_size"),
    )


def _whole(params: Mapping[str, Scalar], name: str) -> int | None:
    return int(params[name]) if name in params else None


def _container_memory(runtime: Runtime, options: ServeOptions, verdict: Verdict) -> int:
    """On a CPU the model lives in the container; beside a GPU the files only pass through it."""
    if options.memory_mb is not None:
        return options.memory_mb
    passing = verdict.split.weights_mb if runtime.device == "gpu" else 0
    return runtime.resources.memory_mb + passing


def _arguments(runtime: Runtime, ask: Ask, verdict: Verdict, params: Mapping[str, Scalar]) -> list[str]:
    """The engine's options: the runtime's own, what the contract decided, what the user chose."""
    decided = {
        "--max-model-len": verdict.max_model_len,
        "--max-num-seqs": ask.max_num_seqs,
        "--max-num-batched-tokens": ask.max_num_batched_tokens,
    }
    if runtime.device == "gpu":
        decided |= {"--tensor-parallel-size": verdict.tensor_parallel}
        shares = ["--gpu-memory-utilization", f"{ask.utilization:g}"]
    else:
        # Finer than VLLM_CPU_KVCACHE_SPACE, which counts whole GiB and which vLLM 0.32 calls legacy.
        decided |= {"--kv-cache-memory-bytes": verdict.kv_cache_bytes}
        shares = []
    flat = [text for flag, value in decided.items() for text in (flag, str(value))]
    return [*runtime.arguments, *flat, *shares, *runtimes.arguments(runtime, params)]


def _scaling(default: Scaling, asked: Scale) -> Scaling:
    """The request over the runtime's defaults; a minimum above the maximum raises the maximum."""
    low = default.min if asked.min is None else asked.min
    return Scaling(
        min=low,
        max=max(low, asked.max or default.max),
        target=asked.target or default.target,
        window_s=asked.window_s or default.window_s,
        retention_s=default.retention_s if asked.retention_s is None else asked.retention_s,
    )
