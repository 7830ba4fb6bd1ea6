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
_CALL_S: Final = 60.0


def program() -> str:
    """The kubectl that pip installed beside our interpreter, else the one on PATH. Raises Failure."""
    beside = Path(sys.prefix) / "bin" / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise Failure("the program kubectl is missing", do="pip install 'torpor[local]', or install kubectl yourself.")
    return found


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs it in the namespace `torpor`. environ: where KUBECONFIG is. context: of it; the current one when empty."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    context: str = ""

    def run(self, *arguments: str, given: str = "", timeout_s: float = _CALL_S) -> str:
        """Its standard output; `given` is its standard input. Raises Failure with its own words."""
        done = self._done(arguments, given, timeout_s)
        if done.returncode != 0:
            raise _failure(arguments, done.stderr)
        return done.stdout

    def get(self, *arguments: str) -> Any | None:
        """The object or list of `kubectl get`, None where there is no such object. Raises Failure."""
        done = self._done(("get", *arguments, "--output", "json"), "", _CALL_S)
        if done.returncode != 0:
            if "(NotFound)" in done.stderr:
                return None
            raise _failure(("get", *arguments), done.stderr)
        return json.loads(done.stdout)

    def _done(self, arguments: tuple[str, ...], given: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
        chosen = ["--context", self.context] if self.context else []
        command = [program(), *chosen, "--namespace", NAMESPACE, *arguments]
        try:
            return subprocess.run(
                command,
                input=given,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=dict(self.environ),
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            what = f"kubectl {' '.join(arguments)}"
            raise Failure(f"{what} did not end within {timeout_s:.0f} s", code=Exit.TIMED_OUT) from late


def _failure(arguments: tuple[str, ...], said: str) -> Failure:
    return Failure(
        f"kubectl {' '.join(arguments)} failed",
        why=said.strip() or "It said nothing.",
        do="kubectl config current-context shows which cluster is meant; KUBECONFIG names another.",
    )
