"""What `kn model up` was asked for. Made by the command line, read by the supervisor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kn_model.local.progress import Say, say

CLONE: Final = Path(__file__).parents[2]
DEFAULT_PORT: Final = 8780


@dataclass(frozen=True)
class Options:
    """One run. `values` replace those of ConfigMap `torpor` (`--set key=value`); `environ` is the process's own."""

    folder: Path
    port: int = DEFAULT_PORT
    # 0: any free one. The kubeconfig names it.
    kube_port: int = 0
    manifests: Path = CLONE / "knative" / "overlays" / "local"
    values: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    tell: Say = say
