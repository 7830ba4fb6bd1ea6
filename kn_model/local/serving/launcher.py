"""Starts instances of revisions on this machine: the acting half of the kubelet part (`pod_plan.py` is the deciding one).

Called by `replicas.py` whenever a revision needs one more instance.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from kn_model.local import child, ports
from kn_model.local.objects.kinds import Kind, Object
from kn_model.local.serving import volumes
from kn_model.local.serving.container_env import ConfigError
from kn_model.local.serving.gpus import Gpus, NotEnoughGpus
from kn_model.local.serving.instance import Instance, StartFailed
from kn_model.local.serving.pod_plan import Machine, Place, Plan, plan

_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes pod name suffixes of: no vowels, so no words."""

Find = Callable[[Kind, str, str], Object | None]
"""Finds an object by kind, namespace and name: `ObjectStore.find`."""


class Launches(Protocol):
    """What the replicas of a revision need: one more instance, which may still be starting."""

    async def launch(self, revision: Object) -> Instance:
        """Start a process. Raises StartFailed when it cannot even be started."""
        ...


@dataclass(frozen=True)
class Folders:
    """Where instances leave things."""

    logs: Path
    """`<service>/<instance>.log` is made inside."""
    pods: Path
    """A folder per instance for its volumes, gone when the instance is."""
    credentials: Callable[[str, str], Path | None]
    """The folder with the token of (namespace, ServiceAccount); None when the account has none."""


class Launcher:
    """Starts processes on this machine."""

    def __init__(self, machine: Machine, folders: Folders, find: Find, gpus: Gpus) -> None:
        self._machine = machine
        self._folders = folders
        self._find = find
        self._gpus = gpus

    async def launch(self, revision: Object) -> Instance:
        """Start one process for the revision. Raises StartFailed with Kubernetes' reason for it."""
        metadata = revision["metadata"]
        suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        name = f"{metadata['name']}-deployment-{suffix}"
        place = Place(
            name=name,
            port=ports.free(1)[0],
            # Not the whole name: programs make Unix sockets below it, whose paths end at 107 characters.
            folder=self._folders.pods / suffix,
            credentials=self._folders.credentials(
                metadata["namespace"], revision["spec"].get("serviceAccountName", "default")
            ),
        )
        service = (metadata.get("labels") or {}).get("serving.knative.dev/service", metadata["name"])
        try:
            decided = plan(
                revision, place, self._machine, lambda kind, found: self._find(kind, metadata["namespace"], found)
            )
            return self._start(decided, place, self._folders.logs / service / f"{name}.log")
        except ConfigError as error:
            raise StartFailed("CreateContainerConfigError", str(error)) from error
        except NotEnoughGpus as error:
            raise StartFailed("Unschedulable", str(error)) from error

    def _start(self, decided: Plan, place: Place, log: Path) -> Instance:
        gpus = self._gpus.take(decided.gpus)
        env = dict(decided.env) | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        try:
            volumes.write(decided.mounts)
            process = child.start(child.Command(argv=decided.argv, env=env, log=log, cwd=decided.cwd))
        except OSError as error:
            self._gpus.give_back(gpus)
            volumes.remove(place.folder)
            raise StartFailed("ContainerCannotRun", f"{decided.argv[0]}: {error.strerror}") from error
        instance = Instance(place.name, decided, log, process, place.folder, gpus)
        instance.ended.add_done_callback(lambda _: self._gpus.give_back(gpus))
        return instance
