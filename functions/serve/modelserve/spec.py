"""A ModelServe resource as a value: which model, how, in whose name. Pure.

The API server has judged its fields by the definition (knative/base/serve/modelserve.yaml); here they become the options
of POST /serve, which judge them again: a definition may be older than this code.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from functions.serve import names
from functions.serve.problems import BadName, BadSpec
from functions.serve.requests import RolloutOptions, ServeOptions

API_VERSION: Final = "model.torpor.dev/v1alpha1"
KIND: Final = "ModelServe"
PLURAL: Final = "modelserves"
TOKEN: Final = "model.torpor.dev/auth-token"  # noqa: S105  # an annotation's name

# Which field of the spec names the model -> how find_declared_model looks for it.
KEYS: Final[Mapping[str, str]] = {"modelName": "name", "modelUuid": "uuid", "minioPath": "path"}
# Field of the spec -> option; units are spelt out in resources.
SCALE: Final[Mapping[str, str]] = {
    "min": "min",
    "target": "target",
    "windowSeconds": "window_s",
    "retentionSeconds": "retention_s",
}
GPU: Final[Mapping[str, str]] = {"name": "name", "memoryMb": "memory_mb", "count": "count"}
ROLLOUT: Final[Mapping[str, str]] = {
    "strategy": "strategy",
    "steps": "steps",
    "holdSeconds": "hold_s",
    "minRequests": "min_requests",
    "maxErrorRate": "max_error_rate",
    "maxTtftRatio": "max_ttft_ratio",
    "prompt": "prompt",
    "expect": "expect",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one resource asks for."""

    name: str
    uid: str
    generation: int
    key: tuple[str, str]
    """`name`, `uuid` or `path`, and its value."""
    options: ServeOptions
    rollout: RolloutOptions
    token: str = field(default="", repr=False)
    """A credential: it never gets into a message or a log line."""

    @property
    def token_digest(self) -> str:
        """Tells whether the same credential was verified before; empty when there is none."""
        return hashlib.sha256(self.token.encode()).hexdigest() if self.token else ""


def read(obj: Mapping[str, Any]) -> Wanted:
    """Read a resource. Raises BadSpec for what its definition let through and serve does not."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    try:
        name = names.check(metadata["name"])
        options = msgspec.convert(_options(spec, name), ServeOptions)
        rollout = msgspec.convert(_renamed(spec.get("rollout"), ROLLOUT), RolloutOptions)
    except (msgspec.ValidationError, BadName) as error:
        raise BadSpec(getattr(error, "detail", "") or str(error)) from error
    token = (metadata.get("annotations") or {}).get(TOKEN, "")
    return Wanted(name, metadata["uid"], int(metadata["generation"]), _key(spec), options, rollout, token.strip())


def _key(spec: Mapping[str, Any]) -> tuple[str, str]:
    given = [(how, str(spec[field])) for field, how in KEYS.items() if spec.get(field)]
    if len(given) != 1:
        raise BadSpec(f"exactly one of {', '.join(KEYS)} says which model; {len(given)} are given")
    return given[0]


def _options(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    scale = _renamed(spec.get("scale"), SCALE)
    if "replicas" in spec:
        scale["max"] = spec["replicas"]
    gpu = _renamed(spec.get("gpu"), GPU) if spec.get("gpu") is not None else None
    found = {
        "name": name,
        "runtime": spec.get("runtime"),
        "gpu": gpu,
        "scale": scale,
        "memory_mb": spec.get("memoryMb"),
        "timeout_s": spec.get("timeoutSeconds"),
        "params": spec.get("params") or {},
    }
    return {option: value for option, value in found.items() if value is not None}


def _renamed(part: Mapping[str, Any] | None, fields: Mapping[str, str]) -> dict[str, Any]:
    given = part or {}
    unknown = sorted(given.keys() - fields.keys())
    if unknown:
        raise BadSpec(f"the field {unknown[0]!r} is not known; {', '.join(fields)} are")
    return {fields[field]: value for field, value in given.items()}
