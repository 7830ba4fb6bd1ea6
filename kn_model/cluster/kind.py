"""`python -m kn_model.cluster.kind`, which `task cluster:up` runs: Knative on kind, our images on its node, `dev` deployed.

What is missing on this machine is said at once and all together. A step that was done before is done again where that
changes nothing, so a run that broke off is repeated.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

from kn_model.cluster import deploy
from kn_model.cluster.kubectl import Kubectl
from kn_model.failure import Exit, Failure
from kn_model.output import say

CLUSTER: Final = "torpor"
# What kind calls it, so that nothing goes to another cluster.
CONTEXT: Final = f"kind-{CLUSTER}"
FUNCTIONS: Final = "kind.local/torpor-functions:dev"
ENGINE: Final = "kind.local/torpor-engine-cpu:dev"
# What overlays/dev expects: an implementation of the Gateway API. The quickstart brings none.
GATEWAY: Final = "https://github.com/envoyproxy/gateway/releases/download/v1.6.0/install.yaml"
GATEWAY_CLASSES: Final = "gatewayclasses.gateway.networking.k8s.io"
GATEWAY_CLASS: Final = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "eg"},
    "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
}
FORWARD: Final = (
    "kubectl -n envoy-gateway-system port-forward $(kubectl -n envoy-gateway-system get service -o name"
    " -l gateway.envoyproxy.io/owning-gateway-name=torpor) 8080:80"
)
# Program -> what it is for and where it comes from.
PROGRAMS: Final = {
    "docker": "builds the images and runs the node: docs.docker.com/engine/install",
    "kind": "makes the cluster: kind.sigs.k8s.io",
    "kubectl": "speaks to it: source .venv/bin/activate brings one, or kubernetes.io/docs/tasks/tools",
    "kn": "Knative's client: knative.dev/docs/client/install-kn",
    "kn-quickstart": "its plugin, which installs Knative: knative.dev/docs/getting-started/quickstart-install",
}

Find = Callable[[str], str | None]
Succeeds = Callable[[Sequence[str]], bool]


def missing(find: Find, succeeds: Succeeds) -> list[str]:
    """What this machine lacks, one sentence each; empty when a cluster can be made."""
    lacking = [f"{name} {purpose}" for name, purpose in PROGRAMS.items() if find(name) is None]
    if find("docker") is not None and not succeeds(["docker", "info"]):
        lacking.append("docker is installed, but its daemon does not answer: start it, or ask for access to its socket")
    return lacking


def steps(*, exists: bool) -> list[list[str]]:
    """The commands from nothing to a cluster with our images; the last of them load what the others built."""
    make = [] if exists else [["kn", "quickstart", "kind", "--name", CLUSTER]]
    return [
        *make,
        ["docker", "build", "--file", "functions/Dockerfile", "--tag", FUNCTIONS, "."],
        [
            "docker",
            "build",
            "--file",
            "functions/serve/engine/Dockerfile",
            "--build-arg",
            "VLLM=cpu",
            "--tag",
            ENGINE,
            ".",
        ],
        ["kind", "load", "docker-image", FUNCTIONS, ENGINE, "--name", CLUSTER],
        ["kubectl", "--context", CONTEXT, "apply", "--server-side", "--filename", GATEWAY],
        [
            "kubectl",
            "--context",
            CONTEXT,
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            f"crd/{GATEWAY_CLASSES}",
        ],
    ]


def main() -> int:
    """Make it; answers the exit code."""
    try:
        up()
    except Failure as failure:
        failure.show()
        return int(failure.code)
    except KeyboardInterrupt:
        say("interrupted")
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)


def up() -> None:
    """All of it. Raises Failure."""
    if lacking := missing(shutil.which, _succeeds):
        raise Failure(
            "this machine cannot make a cluster yet",
            why="Missing:\n" + "\n".join(f"  {each}" for each in lacking),
            do="Without Docker, `kn model up` runs the same manifests as plain processes.",
        )
    for command in steps(exists=CLUSTER in _output(["kind", "get", "clusters"]).split()):
        say(f"== {' '.join(command)}")
        if subprocess.run(command, check=False).returncode != 0:
            raise Failure(f"{command[0]} {command[1]} failed", why="Its output is above.", do="Run it again.")
    kubectl = Kubectl(context=CONTEXT)
    kubectl.run("apply", "--filename", "-", given=json.dumps(GATEWAY_CLASS))
    deploy.deploy(deploy.folder_of("dev"), kubectl)
    say(f"\nTo reach it from here:\n    {FORWARD}")


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
