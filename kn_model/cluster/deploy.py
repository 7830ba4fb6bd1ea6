"""`python -m kn_model.cluster.deploy OVERLAY`, which `task deploy` runs: one installation to the current kubeconfig's cluster.

In this order: render, refuse what is unfinished, make the namespace, its ServiceAccounts and the Secrets that can be made, let
the cluster check everything without doing it (webhooks included), apply, wait, say where it answers.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kn_model.cluster import ready, secrets
from kn_model.cluster.installation import Installation
from kn_model.cluster.kubectl import Kubectl
from kn_model.failure import Exit, Failure
from kn_model.laptop import ADMIN_SECRET, NAMESPACE
from kn_model.local.objects.kinds import Object
from kn_model.local.render import parse
from kn_model.output import say

# What prod says in place of a digest.
_UNSET: Final = re.compile(r"\S+@sha256:set-\S+")
# A few dozen objects, one after the other through the webhooks of a small cluster.
_APPLY_S: Final = 300.0
# Knative's webhook tries out a Pod when it is asked without doing it; that needs the first of these, which needs the other.
_FIRST: Final = ("Namespace", "ServiceAccount")
_CORRECT: Final = (
    "Correct what it names and deploy again; docs/cluster.md, What has to be there, says what is expected."
)


def main(arguments: list[str] | None = None) -> int:
    """Deploy; answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        deploy(folder_of(options.overlay), Kubectl())
    except Failure as failure:
        failure.show()
        return int(failure.code)
    except KeyboardInterrupt:
        say("interrupted")
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)


def folder_of(overlay: str) -> Path:
    """The folder of an overlay's name, of an example's, or of a path. Raises Failure."""
    for folder in (Path("knative/overlays", overlay), Path("knative/examples", overlay), Path(overlay)):
        if (folder / "kustomization.yaml").exists():
            return folder
    known = sorted(path.parent.name for path in Path("knative/overlays").glob("*/kustomization.yaml"))
    raise Failure(
        f"there is no overlay {overlay!r}",
        why="It is neither a name below knative/overlays or knative/examples nor a folder with a kustomization.yaml.",
        do=f"One of {', '.join(known)}, or the folder of your installation.",
        code=Exit.USAGE,
    )


def deploy(folder: Path, kubectl: Kubectl) -> None:
    """All of it. Raises Failure at the first step that does not hold; running it again goes on from there."""
    say(f"Rendering {folder}")
    text = kubectl.run("kustomize", str(folder), advice=f"Correct the files of {folder}; the cluster was not asked.")
    objects = parse(text)
    refuse_unfinished(text)
    _prepare(kubectl, objects)
    say("Asking the cluster whether it would take everything: kubectl apply --dry-run=server")
    _apply(kubectl, text, "--dry-run=server")
    say("Applying")
    _apply(kubectl, text)
    ready.wait(kubectl, objects)
    _tell(Installation(kubectl))


def refuse_unfinished(text: str) -> None:
    """Raises Failure naming the images that nobody has set yet: `prod` is not for applying by itself."""
    if unset := sorted(set(_UNSET.findall(text))):
        raise Failure(
            "images are not set",
            why=f"Without a digest: {', '.join(unset)}.",
            do="Copy a folder of knative/examples, put your values there, and deploy that folder (docs/cluster.md).",
            code=Exit.REFUSED,
        )


def _prepare(kubectl: Kubectl, objects: Sequence[Object]) -> None:
    """What the check needs to be there already, the Secrets, and no Job of an earlier release in the way."""
    _apply(kubectl, _stream([each for kind in _FIRST for each in objects if each["kind"] == kind]))
    listed = (kubectl.get("secrets") or {"items": []})["items"]
    present = {each["metadata"]["name"] for each in listed}
    new = secrets.made(objects, present)
    if missing := sorted(secrets.needed(objects) - present - new.keys()):
        raise Failure(
            "Secrets are missing",
            why=f"Only you know what belongs into {', '.join(missing)}.",
            do="docs/cluster.md has a command for each.",
            code=Exit.REFUSED,
        )
    if new:
        say(f"Making {', '.join(sorted(new))}")
        kubectl.run("create", "--filename", "-", given=_stream(list(new.values())))
    # A Job's template cannot be changed; what it did stays done.
    kubectl.run("delete", "job", ready.SETUP, "--ignore-not-found", timeout_s=_APPLY_S)


def _apply(kubectl: Kubectl, text: str, *options: str) -> None:
    kubectl.run("apply", *options, "--filename", "-", given=text, timeout_s=_APPLY_S, advice=_CORRECT)


def _stream(objects: Sequence[Object]) -> str:
    return "\n---\n".join(json.dumps(each) for each in objects)


def _tell(place: Installation) -> None:
    url = place.url()
    password = f"kubectl -n {NAMESPACE} get secret {ADMIN_SECRET} -o jsonpath='{{.data.password}}' | base64 -d"
    say(f"\nTorpor answers at {url}. Log in as {place.admin().username}:")
    say(f"    {password} | kn model login {url} --username {place.admin().username} --password-stdin")
    say("Then `task smoke` tries it out. Where the address leads nowhere yet: docs/cluster.md, The gateway.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kn_model.cluster.deploy", description=__doc__)
    parser.add_argument("overlay", help="a name below knative/overlays or knative/examples, or a folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
