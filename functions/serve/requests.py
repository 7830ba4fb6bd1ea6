"""What callers send: the bodies of `POST /serve`, `PATCH /serve/{name}` and `POST /contract`.

`ServeOptions` is also what a model record's `serve` column holds, for serve-on-available. Unknown fields are refused.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins

# Bounds of autoscaling.knative.dev/window and /scale-to-zero-pod-retention-period (serving, annotation_validation.go).
Window = Annotated[int, Meta(ge=6, le=3600)]
Retention = Annotated[int, Meta(ge=0, le=3600)]
# A day; what a cluster allows is usually less.
TimeoutS = Annotated[int, Meta(ge=1, le=86_400)]
# A gigabyte is less than the engine alone takes; the upper bound is 16 TB.
MemoryMb = Annotated[int, Meta(ge=256, le=16_777_216)]
# JSON scalars; which one a parameter takes is the runtime file's to say.
ParameterValue = bool | int | float | str | None


class Gpu(Struct, frozen=True, forbid_unknown_fields=True):
    """The GPUs asked for, and how many of them one replica may take.

    memory_mb: of each; without it that of the `name` in runtimes/gpus.yaml, which is otherwise for people alone.
    """

    memory_mb: MemoryMb | None = None
    count: Annotated[int, Meta(ge=1, le=64)] = 1
    name: Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z0-9 ._-]*$")] = ""


class Scale(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Replicas and when they come and go; what is left out is the runtime's choice.

    target: requests at once per replica. window_s: seconds looked back on. retention_s: how long the last replica stays.
    """

    min: Annotated[int, Meta(ge=0, le=100)] | None = None
    max: Annotated[int, Meta(ge=1, le=100)] | None = None
    target: Annotated[int, Meta(ge=1, le=1000)] | None = None
    window_s: Window | None = None
    retention_s: Retention | None = None


class RolloutOptions(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a server that serves already goes over to something else.

    strategy: canary takes steps of traffic; replace is for a cluster without room for two (the old one first ends);
    direct lets Knative switch as soon as the new revision is ready. steps: percent of the traffic, growing.
    Each step lasts hold_s seconds and min_requests answers of the candidate, whichever takes longer.
    max_error_rate: how much larger the share of errors may be than that of what serves. max_ttft_ratio: how many times
    its p95 time to first token. prompt: asked before any traffic; the answer has to contain expect, in any case.
    """

    strategy: Literal["canary", "replace", "direct"] = "canary"
    steps: Annotated[tuple[Annotated[int, Meta(ge=1, le=100)], ...], Meta(min_length=1, max_length=20)] = (
        5,
        25,
        50,
        100,
    )
    hold_s: Annotated[int, Meta(ge=0, le=86_400)] = 60
    min_requests: Annotated[int, Meta(ge=0, le=100_000)] = 20
    max_error_rate: Annotated[float, Meta(ge=0, le=1)] = 0.02
    max_ttft_ratio: Annotated[float, Meta(ge=1, le=100)] = 1.5
    prompt: Annotated[str, Meta(min_length=1, max_length=4096)] = "What is the capital of France?"
    expect: Annotated[str, Meta(max_length=1024)] = ""

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400, for steps that do not grow."""
        if any(after <= before for before, after in pairwise(self.steps)):
            raise ValueError("steps have to grow: [5, 25, 50, 100]")


class ServeOptions(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How to serve a model; memory_mb is that of a replica's container, which for `vllm-cpu` holds the model.

    timeout_s: how long a call may take, its wait for a cold start included; without it as long as the model may need.
    """

    name: str | None = None
    runtime: str | None = None
    gpu: Gpu | None = None
    scale: Scale = Scale()
    memory_mb: MemoryMb | None = None
    params: dict[str, ParameterValue] = {}
    timeout_s: TimeoutS | None = None
    # How a server of this name goes over to it; no part of what is served, so records do not keep it.
    rollout: RolloutOptions | None = None

    def as_json(self) -> dict[str, Any]:
        """What the record keeps: without the defaults, so that equal requests are equal documents."""
        document: dict[str, Any] = to_builtins(self)
        return document


class ServeRequest(ServeOptions, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """`POST /serve` and `POST /contract`. model: the name or uuid of a model record."""

    model: Annotated[str, Meta(min_length=1, max_length=255)]

    def options(self) -> ServeOptions:
        """The request without the model."""
        return ServeOptions(self.name, self.runtime, self.gpu, self.scale, self.memory_mb, self.params, self.timeout_s)


class ServePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """`PATCH /serve/{name}`: what is left out stays; a parameter set to null goes back to its default.

    model: another model record.
    """

    model: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    runtime: str | None = None
    rollout: RolloutOptions | None = None
    gpu: Gpu | None = None
    scale: Scale | None = None
    memory_mb: MemoryMb | None = None
    params: dict[str, ParameterValue] = {}
    timeout_s: TimeoutS | None = None

    def applied_to(self, options: ServeOptions) -> ServeOptions:
        """The options after this patch."""
        params: dict[str, ParameterValue] = {
            name: value for name, value in {**options.params, **self.params}.items() if value is not None
        }
        scale = {**to_builtins(options.scale), **to_builtins(self.scale or Scale())}
        return ServeOptions(
            name=options.name,
            runtime=self.runtime or options.runtime,
            gpu=self.gpu or options.gpu,
            scale=Scale(**scale),
            memory_mb=self.memory_mb or options.memory_mb,
            params=params,
            timeout_s=self.timeout_s or options.timeout_s,
        )
