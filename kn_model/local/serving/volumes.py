"""Volumes of a container as folders of this machine, and the translation of their mount paths.

`mounts` plans (pure); `write` makes the folders. A process here sees the whole file system, so a mountPath such as
`/etc/torpor` cannot be mounted: the text of env values and arguments is changed to where the folder really is.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from kn_model.local.objects.kinds import CONFIG_MAP, SECRET
from kn_model.local.serving.container_env import ConfigError, Lookup, entries


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder that stands in for `path` of the container, with the files it starts with."""

    path: str
    folder: Path
    files: Mapping[str, bytes] = field(default_factory=dict)


def mounts(pod: Mapping[str, Any], container: Mapping[str, Any], folder: Path, lookup: Lookup) -> Sequence[Mount]:
    """The container's mounts, each in its volume's folder under `folder`. Raises ConfigError."""
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or []}
    planned = []
    for mount in container.get("volumeMounts") or []:
        volume = volumes.get(mount["name"])
        if volume is None:
            raise ConfigError(f'volumeMounts: no volume is named "{mount["name"]}"')
        inside = _inside(folder / volume["name"], mount.get("subPath", ""))
        planned.append(Mount(mount["mountPath"].rstrip("/"), inside, _files(volume, lookup)))
    return planned


def write(planned: Sequence[Mount]) -> None:
    """Make the folders and files, readable by this user alone: Secrets are among them."""
    for mount in planned:
        mount.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, data in mount.files.items():
            file = mount.folder / name
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.write_bytes(data)


def remove(folder: Path) -> None:
    """Forget an instance's volumes."""
    shutil.rmtree(folder, ignore_errors=True)


def translate(text: str, planned: Sequence[Mount]) -> str:
    """`text` with each mount path in it replaced, the longest first; `/etc/torpor2` is not inside `/etc/torpor`.

    All in one pass: a folder that was put in, or is there already, is not translated again.
    """
    where = {str(mount.folder): str(mount.folder) for mount in planned} | {
        mount.path: str(mount.folder) for mount in planned
    }
    if not where:
        return text
    paths = "|".join(re.escape(path) for path in sorted(where, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{paths})(?![\w.-])", lambda found: where[found[0]], text)


def _files(volume: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    if "emptyDir" in volume:
        return {}
    for kind, name in ((SECRET, "secret"), (CONFIG_MAP, "configMap")):
        if name in volume:
            return _selected(volume[name], entries(kind, volume[name], lookup))
    raise ConfigError(f'volume "{volume["name"]}": only emptyDir, configMap and secret exist here')


def _selected(source: Mapping[str, Any], found: Mapping[str, bytes]) -> dict[str, bytes]:
    items = source.get("items")
    chosen = {item["path"]: item["key"] for item in items} if items else {key: key for key in found}
    missing = [key for key in chosen.values() if key not in found]
    if missing and not source.get("optional"):
        raise ConfigError(f"references non-existent key: {missing[0]}")
    return {_relative(path): found[key] for path, key in chosen.items() if key in found}


def _inside(folder: Path, sub_path: str) -> Path:
    return folder / _relative(sub_path) if sub_path else folder


def _relative(path: str) -> str:
    """The path, when it stays inside its volume; a manifest with `../` reaches nothing else of this machine."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise ConfigError(f'invalid path "{path}": must be relative and stay inside the volume')
    return str(parts)
