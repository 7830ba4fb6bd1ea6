"""What to run for one instance of a revision: the kubelet's decisions, without doing any of them.

Pure; called by `launcher.py`. The result names the command, its whole environment, the folders that stand in for its
mounts, its probes and its limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kn_model.local.addresses import Addresses
from kn_model.local.serving import volumes
from kn_model.local.serving.container_env import ConfigError, Lookup, environment, expand
from kn_model.local.serving.quantities import quantity

GPU: Final = "nvidia.com/gpu"

# What a container image would bring with it: how to find programs, certificates, a GPU driver, a home for caches.
FROM_THE_MACHINE: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, as far as every instance sees it."""

    addresses: Addresses
    python: str
    """The interpreter that `python` and `python3` in a command mean."""
    work: Path
    """Where commands run when they name no workingDir: the clone, as `WORKDIR` is in the image."""
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What the runtime chose for one instance."""

    name: str
    port: int
    folder: Path
    """For its volumes."""
    credentials: Path | None = None
    """The folder with its ServiceAccount's token."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that `instance.py` needs to start a process and to know when it is ready."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    port: int
    mounts: Sequence[volumes.Mount]
    probes: Mapping[str, Mapping[str, Any]]
    """The container's `readinessProbe`, `startupProbe` and `livenessProbe`, where it has them."""
    memory_limit: int | None
    """Bytes."""
    gpus: int


def plan(revision: Mapping[str, Any], place: Place, machine: Machine, lookup: Lookup) -> Plan:
    """Decide how to run `revision` at `place`. Raises ConfigError with the reason when it cannot run here."""
    pod = revision["spec"]
    container = _container(pod)
    mounted = volumes.mounts(pod, container, place.folder, lookup)
    injected = _injected(revision, place, machine, mounted)
    raw = environment(container, injected, lookup)

    def here(text: str) -> str:
        return machine.addresses.here(volumes.translate(text, mounted))

    env = {name: value if injected.get(name) == value else here(value) for name, value in raw.items()}
    argv = [here(expand(word, raw)) for word in [*container["command"], *(container.get("args") or [])]]
    limits = (container.get("resources") or {}).get("limits") or {}
    return Plan(
        argv=[_program(argv[0], machine), *argv[1:]],
        env=env,
        cwd=_working_directory(container, machine, mounted),
        port=place.port,
        mounts=mounted,
        probes={
            name: container[name] for name in ("readinessProbe", "startupProbe", "livenessProbe") if name in container
        },
        memory_limit=int(quantity(limits["memory"])) if "memory" in limits else None,
        gpus=int(quantity(limits.get(GPU, 0))),
    )


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: Sequence[Mapping[str, Any]] = pod.get("containers") or []
    if len(containers) != 1 or pod.get("initContainers"):
        raise ConfigError("one container and no initContainers is what runs here")
    if not containers[0].get("command"):
        raise ConfigError(
            "the container has no `command`: this runtime starts processes and cannot look into an image for one"
        )
    return containers[0]


def _injected(
    revision: Mapping[str, Any], place: Place, machine: Machine, mounted: Sequence[volumes.Mount]
) -> dict[str, str]:
    labels = revision["metadata"].get("labels") or {}
    kube_host, _, kube_port = machine.addresses.kube.partition("://")[2].rpartition(":")
    env = {name: machine.environ[name] for name in FROM_THE_MACHINE if name in machine.environ}
    env |= {
        "PYTHONUNBUFFERED": "1",  # so that the last words of a crash are in the log
        "PORT": str(place.port),
        "HOST": "127.0.0.1",
        "HOSTNAME": place.name,
        "K_SERVICE": labels.get("serving.knative.dev/service", ""),
        "K_CONFIGURATION": labels.get("serving.knative.dev/configuration", ""),
        "K_REVISION": revision["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": kube_host,
        "KUBERNETES_SERVICE_PORT": kube_port,
    }
    if place.credentials:
        env["TORPOR_KUBE_CREDENTIALS"] = str(place.credentials)
    # A volume at /tmp is meant for temporary files; programs find it by this name, not by the path.
    temporary = [str(mount.folder) for mount in mounted if mount.path == "/tmp"]  # noqa: S108  # the manifest's path
    return env | ({"TMPDIR": temporary[0]} if temporary else {})


def _program(word: str, machine: Machine) -> str:
    return machine.python if word in ("python", "python3") else word


def _working_directory(container: Mapping[str, Any], machine: Machine, mounted: Sequence[volumes.Mount]) -> Path:
    wanted = container.get("workingDir")
    if not wanted:
        return machine.work
    translated = Path(volumes.translate(wanted, mounted))
    # An image's WORKDIR holds the code; so does the clone. A mounted folder is itself.
    return translated if translated.is_dir() else machine.work
