"""What `kubectl kustomize` makes of every overlay and example, kept in tests/manifests/golden so that a change is seen.

`python -m tests.manifests.goldens` writes them anew, and with them the one manifest that follows from others: Kourier's
Ingress, whose paths are those of the HTTPRoutes.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

Object = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
GOLDEN: Final = Path(__file__).with_name("golden")
KOURIER: Final = ROOT / "knative" / "components" / "gateway-kourier" / "ingress.yaml"
# By itself it is refused (digests are missing), so what holds for installations is said of the examples.
UNFINISHED: Final = "prod"


def folders() -> Mapping[str, Path]:
    """Name -> folder of everything that docs tell people to apply."""
    found = (*ROOT.glob("knative/overlays/*/kustomization.yaml"), *ROOT.glob("knative/examples/*/kustomization.yaml"))
    return {path.parent.name: path.parent for path in sorted(found)}


@cache
def text(name: str) -> str:
    """The rendered YAML of an overlay or example."""
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"
    done = subprocess.run([program, "kustomize", str(folders()[name])], check=True, capture_output=True, text=True)
    return done.stdout


@cache
def rendered(name: str) -> Sequence[Object]:
    """Its objects."""
    return list(yaml.safe_load_all(text(name)))


def golden(name: str) -> Path:
    """Where the last reviewed render is."""
    return GOLDEN / f"{name}.yaml"


def kourier_paths(objects: Sequence[Object]) -> Iterator[Object]:
    """The HTTPRoutes' matches in the words of Kourier's Ingress: prefixes, the method as Envoy's pseudo header."""
    for route in (each for each in objects if each["kind"] == "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            (host,) = (each["urlRewrite"]["hostname"] for each in rule["filters"] if each["type"] == "URLRewrite")
            for match in rule["matches"]:
                # Models have hosts of their own there: nobody could take the prefix off.
                if match["path"]["value"] != "/m":
                    yield _kourier_path(host, match)


def _kourier_path(host: str, match: Object) -> Object:
    # The one expression there is begins with its prefix; what it shuts out, the function shuts out as well.
    prefix = match["path"]["value"].removeprefix("^").split("[")[0]
    headers = {"headers": {":method": {"exact": match["method"]}}} if "method" in match else {}
    split = {"serviceName": host.partition(".")[0], "serviceNamespace": "torpor", "servicePort": 80, "percent": 100}
    return {"path": prefix, **headers, "rewriteHost": host, "splits": [split]}


def kourier_ingress() -> str:
    """The file knative/components/gateway-kourier/ingress.yaml, its host the one that prod has before an installation."""
    lines = "\n".join(f"          - {json.dumps(path)}" for path in kourier_paths(rendered("local")))
    return f"""\
# The functions' paths on one host, by Kourier itself: what a DomainMapping makes, with paths. An interface inside Knative,
# without a promise of stability. Generated from the HTTPRoutes by `python -m tests.manifests.goldens`.
apiVersion: networking.internal.knative.dev/v1alpha1
kind: Ingress
metadata:
  name: torpor
  namespace: torpor
  labels:
    app.kubernetes.io/part-of: torpor
  annotations:
    networking.knative.dev/ingress.class: kourier.ingress.networking.knative.dev
spec:
  httpOption: Enabled
  rules:
    - hosts: [torpor.example.com]
      visibility: ExternalIP
      http:
        # The services' own placeholders, on the only port they have; a path is a prefix.
        paths:
{lines}
"""


def main() -> None:
    """Write everything anew."""
    KOURIER.write_text(kourier_ingress(), encoding="utf-8")
    text.cache_clear()
    for name in folders():
        golden(name).write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
