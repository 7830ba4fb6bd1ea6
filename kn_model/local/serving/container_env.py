"""The environment and arguments of a container, resolved as a kubelet resolves them.

Pure; called by `pod_plan.py`. Nothing is ever executed: `$(NAME)` is Kubernetes' own substitution and a name that is not
defined stays as it is (k8s.io/kubernetes `third_party/forked/golang/expansion`).
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from kn_model.local.objects.kinds import CONFIG_MAP, SECRET, Kind, Object

Lookup = Callable[[Kind, str], Object | None]
"""Finds a ConfigMap or Secret of the container's namespace by name."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class ConfigError(Exception):
    """The container cannot be created as it is configured: `CreateContainerConfigError` in Kubernetes."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with each `$(NAME)` of `env` replaced; `$$(NAME)` gives a literal `$(NAME)`."""

    def replacement(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return env.get(found[1], found[0])

    return _REFERENCE.sub(replacement, text)


def environment(container: Mapping[str, Any], injected: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """`envFrom`, then `env`, over what the runtime injects. Raises ConfigError naming what is missing."""
    env = dict(injected)
    for source in container.get("envFrom") or []:
        env |= _env_from(source, lookup)
    for variable in container.get("env") or []:
        value = _value(variable, lookup, env)
        if value is not None:
            env[variable["name"]] = value
    return env


def content(kind: Kind, obj: Mapping[str, Any]) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes."""
    encoded = obj.get("data" if kind == SECRET else "binaryData") or {}
    plain = obj.get("data" if kind == CONFIG_MAP else "stringData") or {}
    decoded = {key: base64.b64decode(value) for key, value in encoded.items()}
    return decoded | {key: str(value).encode() for key, value in plain.items()}


def entries(kind: Kind, reference: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    """The entries of a referenced object; empty when it is missing and the reference `optional`. Raises ConfigError."""
    name = reference.get("name") or reference.get("secretName") or ""
    obj = lookup(kind, name)
    if obj is not None:
        return content(kind, obj)
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{kind.kind.lower()} "{name}" not found')


def _env_from(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix", "")
    kind, field = (SECRET, "secretRef") if "secretRef" in source else (CONFIG_MAP, "configMapRef")
    found = entries(kind, source[field], lookup)
    return {prefix + key: value.decode() for key, value in found.items() if _NAME.fullmatch(prefix + key)}


def _value(variable: Mapping[str, Any], lookup: Lookup, env: Mapping[str, str]) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value") or "", env)
    for kind, field in ((SECRET, "secretKeyRef"), (CONFIG_MAP, "configMapKeyRef")):
        if field in source:
            return _keyed(kind, source[field], lookup)
    raise ConfigError(f"env {variable['name']}: valueFrom takes secretKeyRef or configMapKeyRef here")


def _keyed(kind: Kind, reference: Mapping[str, Any], lookup: Lookup) -> str | None:
    found = entries(kind, reference, lookup)
    if reference["key"] in found:
        return found[reference["key"]].decode()
    if reference.get("optional"):
        return None
    raise ConfigError(f"couldn't find key {reference['key']} in {kind.kind} {reference.get('name', '')}")
