"""The `restricted` Pod Security Standard as a function of a pod spec. Pure.

Source: the standard's page of Kubernetes (Pod Security Standards, policy version 1.34), for pods on Linux.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HOST: Final = ("hostNetwork", "hostPID", "hostIPC")
# Fields of a container's securityContext that have to be absent or of this value.
ABSENT: Final = {"privileged": False, "procMount": "Default"}
PROFILES: Final = {"RuntimeDefault", "Localhost"}


def violations(pod: Mapping[str, Any]) -> Iterator[str]:
    """What admission would refuse, each with its path."""
    yield from (field for field in HOST if pod.get(field))
    for volume in pod.get("volumes", ()):
        yield from (f"volume {volume['name']}: {kind}" for kind in volume.keys() - {"name"} - VOLUMES)
    whole = pod.get("securityContext") or {}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        for text in _container(container, whole):
            yield f"{container.get('name', 'container')}: {text}"


def _container(container: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    merged = {**whole, **own}
    yield from (f"{field} is {own[field]}" for field, value in ABSENT.items() if own.get(field, value) != value)
    yield from ("hostPort" for port in container.get("ports", ()) if port.get("hostPort"))
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if merged.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if merged.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if (merged.get("seccompProfile") or {}).get("type") not in PROFILES:
        yield "seccompProfile is not RuntimeDefault or Localhost"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities do not drop ALL"
    yield from (f"capability {name}" for name in capabilities.get("add", ()) if name != "NET_BIND_SERVICE")
