"""kubectl as deploying uses it: which namespace it is told, and what a call that does not succeed says."""

from pathlib import Path

import pytest

from kn_model.cluster.kubectl import Kubectl
from kn_model.failure import Exit, Failure


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubectl that does what the script says, where ours is looked for."""
    (folder / "bin").mkdir()
    path = folder / "bin" / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr("sys.prefix", str(folder))


@pytest.mark.parametrize("verb", ["apply", "create", "kustomize"])
def test_manifests_say_their_namespaces_themselves(verb: str) -> None:
    """A ReferenceGrant stands in Kourier's: with --namespace kubectl refuses what names another one."""
    assert [verb, "x"] == Kubectl({}).arguments(verb, "x")
    assert ["--context", "c", verb, "x"] == Kubectl({}, "c").arguments(verb, "x")


def test_names_are_looked_for_in_our_namespace() -> None:
    """Whatever namespace the kubeconfig has chosen."""
    assert ["--namespace", "torpor", "get", "secrets"] == Kubectl({}).arguments("get", "secrets")


@pytest.mark.parametrize(
    ("script", "code"),
    [("echo 'error: timed out waiting for the condition' >&2; exit 1", Exit.TIMED_OUT), ("exit 1", Exit.FAILED)],
)
def test_a_call_that_fails_says_what_to_do(
    script: str, code: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's advice, or which cluster was asked; what took too long has an exit code of its own."""
    program(tmp_path, script, monkeypatch)
    with pytest.raises(Failure, match="kubectl wait ksvc failed") as caught:
        Kubectl({"PATH": "/bin:/usr/bin"}).run("wait", "ksvc", advice="look there")
    assert (code, "look there") == (caught.value.code, caught.value.do)
    with pytest.raises(Failure, match="kubectl get ksvc failed") as caught:
        Kubectl({"PATH": "/bin:/usr/bin"}).get("ksvc")
    assert "kubectl config current-context" in caught.value.do


def test_a_call_without_an_answer_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that takes the call and is silent is no reason to wait for ever."""
    program(tmp_path, "exec sleep 30", monkeypatch)
    with pytest.raises(Failure, match="did not end within 0 s") as caught:
        Kubectl({"PATH": "/bin:/usr/bin"}).run("apply", timeout_s=0.2)
    assert (Exit.TIMED_OUT, True) == (caught.value.code, "kubectl config current-context" in caught.value.do)
