"""Deploying, up to where a cluster is needed: which Secrets are made, what is refused, what this machine lacks."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kn_model.cluster import deploy, kind, ready, secrets
from kn_model.cluster.kubectl import Kubectl
from kn_model.failure import Exit, Failure

Object = dict[str, Any]


def pod(*names: str, kind_: str = "Service", name: str = "x", optional: bool = False) -> Object:
    """Something whose container reads these Secrets."""
    references = [{"valueFrom": {"secretKeyRef": {"name": each, "key": "k", "optional": optional}}} for each in names]
    template = {"spec": {"containers": [{"env": references}]}}
    return {"kind": kind_, "metadata": {"name": name}, "spec": {"template": template}}


POSTGRES = pod("torpor-postgres", kind_="StatefulSet", name="postgres")
SEAWEEDFS = pod("torpor-s3", kind_="StatefulSet", name="seaweedfs")
AUTH = pod("torpor-auth", "torpor-postgres", "torpor-events")


@pytest.mark.parametrize(
    ("objects", "present", "expected"),
    [
        ([AUTH], [], {"torpor-auth", "torpor-events"}),
        ([AUTH], ["torpor-auth"], {"torpor-events"}),
        ([AUTH, POSTGRES], [], {"torpor-auth", "torpor-events", "torpor-postgres"}),
        ([AUTH, POSTGRES, SEAWEEDFS], ["torpor-postgres"], {"torpor-auth", "torpor-events", "torpor-s3"}),
        ([], ["torpor-events"], set()),
    ],
)
def test_only_what_is_ours_to_decide_is_made(objects: list[Object], present: list[str], expected: set[str]) -> None:
    """Keys always; the passwords of servers that come along; never an address that only the operator knows."""
    assert expected == secrets.made(objects, present).keys()


def test_what_pods_wait_for_is_found() -> None:
    """Optional Secrets are not waited for, and what the setup Job makes is nobody's to give."""
    objects = [AUTH, pod("torpor-hub", optional=True), pod("torpor-inference")]
    assert {"torpor-auth", "torpor-postgres", "torpor-events", "torpor-s3"} == secrets.needed(objects)


def values(secret: Object) -> dict[str, str]:
    """What a Secret holds."""
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_the_database_and_its_users_get_one_password() -> None:
    """The server's key and everybody's URL; and another one each time."""
    first, second = (values(secrets.made([AUTH, POSTGRES], [])["torpor-postgres"]) for _ in range(2))
    assert f":{first['password']}@postgres.torpor.svc.cluster.local:5432/torpor" in first["url"]
    assert first["password"] != second["password"]


def test_prod_by_itself_is_refused() -> None:
    """With the images that have to be set, before anything reaches the cluster."""
    with pytest.raises(Failure, match="images are not set") as caught:
        deploy.refuse_unfinished("image: torpor-functions@sha256:set-the-digest-of-your-torpor-functions\n")
    assert "torpor-functions@sha256:set-the-digest" in caught.value.why
    deploy.refuse_unfinished(f"image: torpor-functions@sha256:{'1' * 64}\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dev", "knative/overlays/dev"),
        ("kafka-kourier", "knative/examples/kafka-kourier"),
        ("knative/overlays/dev", "knative/overlays/dev"),
    ],
)
def test_an_overlay_is_a_name_or_a_folder(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the root of a clone, where `task` runs."""
    monkeypatch.chdir(Path(__file__).parents[2])
    assert Path(expected) == deploy.folder_of(name)


def test_an_unknown_overlay_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake costs one look."""
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(Failure, match="there is no overlay 'producton'") as caught:
        deploy.folder_of("producton")
    assert "dev" in caught.value.do


def found(*absent: str) -> kind.Find:
    """A machine with every program but these."""
    return lambda name: None if name in absent else f"/bin/{name}"


def answers(*, docker: bool) -> kind.Succeeds:
    """A machine whose Docker daemon answers or does not."""
    return lambda command: docker or list(command[:2]) != ["docker", "info"]


@pytest.mark.parametrize(
    ("absent", "docker", "expected"),
    [
        ((), True, []),
        ((), False, ["docker"]),
        (("docker",), False, ["docker"]),
        (("kind", "kn"), True, ["kind", "kn"]),
        (tuple(kind.PROGRAMS), False, list(kind.PROGRAMS)),
    ],
)
def test_everything_that_is_missing_is_said_at_once(
    absent: tuple[str, ...], *, docker: bool, expected: list[str]
) -> None:
    """Each with where to get it, so that nobody comes back five times."""
    lacking = kind.missing(found(*absent), answers(docker=docker))
    assert expected == [each.split()[0] for each in lacking]


def words(steps: Sequence[Sequence[str]]) -> list[str]:
    """The programs of the steps."""
    return [step[0] for step in steps]


def test_a_cluster_is_made_once() -> None:
    """A second run builds and loads the images again and leaves the cluster."""
    assert ["kn", "docker", "docker", "kind", "kubectl", "kubectl"] == words(kind.steps(exists=False))
    assert ["docker", "docker", "kind", "kubectl", "kubectl"] == words(kind.steps(exists=True))


def test_what_is_built_is_what_dev_runs() -> None:
    """The overlay's names, or the node would ask a registry for them."""
    root = Path(__file__).parents[2] / "knative" / "overlays" / "dev"
    name, _, tag = kind.FUNCTIONS.rpartition(":")
    kustomization = (root / "kustomization.yaml").read_text(encoding="utf-8")
    assert f"newName: {name}\n    newTag: {tag}\n" in kustomization
    assert f"engine-image: {kind.ENGINE}\n" in (root / "configmap.yaml").read_text(encoding="utf-8")


def test_without_its_programs_no_cluster_is_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`task cluster:up` ends with the whole list, and without having started anything."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert kind.main() == 1
    said = capsys.readouterr().err
    assert [] == [name for name in kind.PROGRAMS if f"\n  {name} " not in said.replace("    ", "  ")]


RENDERED = """
{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "postgres"}, "spec": {"template": {"spec": {}}}}
---
{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "seaweedfs"}, "spec": {"template": {"spec": {}}}}
---
{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "auth"}, "spec": {"template": {"spec": {}}}}
---
{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "torpor-auth", "namespace": "torpor"}}
---
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "torpor"}}
"""
COMPLETE = {"type": "Complete", "status": "True"}
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it was tried 7 times"}
UNREADY = {"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "the image was not found"}


def job(*conditions: Object) -> Object:
    """The setup Job as the cluster shows it."""
    return {"metadata": {"name": "torpor-setup"}, "status": {"conditions": list(conditions)}}


def ksvc(name: str, condition: Object) -> Object:
    """A function as the cluster shows it."""
    return {"metadata": {"name": name}, "status": {"conditions": [condition]}}


class Recorded(Kubectl):
    """A cluster that takes everything but the call that begins with `refuses`; `said` is what it was asked, in order."""

    def __init__(self, *, refuses: str = "-", jobs: Sequence[Object | None] = (job(COMPLETE),)) -> None:
        super().__init__({})
        self.said: list[str]
        self.given: list[str]
        self.advice: str
        self.refuses: str
        self.jobs: list[Object | None]
        # Frozen, as the real one is.
        known = {"said": [], "given": [], "advice": "", "refuses": refuses, "jobs": list(jobs)}
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def run(self, *arguments: str, given: str = "", timeout_s: float = 0, advice: str = "") -> str:
        """Note the call."""
        del timeout_s
        self.said.append(" ".join(arguments[:2]))
        self.given.append(given)
        if " ".join(arguments).startswith(self.refuses):
            raise Failure("refused", do=advice)
        return RENDERED if arguments[0] == "kustomize" else ""

    def get(self, *arguments: str) -> Any | None:
        """What deploying asks for."""
        if arguments[0] == "job":
            return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]
        if arguments[0] == "configmap":
            return {"data": {"public-url": "http://front"}}
        if arguments == ("ksvc",):
            return {"items": [ksvc("auth", UNREADY), ksvc("tiny", UNREADY)]}
        admin = {"username": "YWRtaW4=", "password": "YQ=="}
        return {"items": []} if arguments == ("secrets",) else {"data": admin}


def test_everything_is_checked_before_anything_is_applied() -> None:
    """Secrets first, which pods wait for; then the cluster's own check; then all of it, and the waiting."""
    cluster = Recorded()
    deploy.deploy(Path("folder"), cluster)
    assert [
        "kustomize folder",
        "apply --filename",
        "create --filename",
        "delete job",
        "apply --dry-run=server",
        "apply --filename",
        "rollout status",
        "rollout status",
        "wait --for=condition=Ready",
    ] == cluster.said


def test_what_the_check_needs_is_there_before_it() -> None:
    """Knative's webhook tries a Pod, which is refused without its ServiceAccount: the first deployment would end there."""
    cluster = Recorded()
    deploy.deploy(Path("folder"), cluster)
    first = [json.loads(each)["kind"] for each in cluster.given[1].split("\n---\n")]
    assert ["Namespace", "ServiceAccount"] == first


def test_what_the_cluster_would_refuse_is_not_applied() -> None:
    """Half an installation is worse than none."""
    cluster = Recorded(refuses="apply --dry-run=server")
    with pytest.raises(Failure, match="refused") as caught:
        deploy.deploy(Path("folder"), cluster)
    assert ("apply --dry-run=server", True) == (cluster.said[-1], "deploy again" in caught.value.do)


def test_secrets_that_are_made_name_their_namespace() -> None:
    """They are created without --namespace."""
    made = secrets.made([AUTH, POSTGRES, SEAWEEDFS], [])
    assert {"torpor"} == {each["metadata"]["namespace"] for each in made.values()}


def never(seconds: float) -> None:
    """Nobody waits here."""
    raise AssertionError(f"it slept for {seconds} s")


def test_a_setup_job_that_failed_is_noticed_at_once() -> None:
    """And not after the eleven minutes that it may take; its log is the next step."""
    with pytest.raises(Failure, match="Job torpor-setup failed") as caught:
        ready.wait(Recorded(jobs=[job(FAILED)]), [], never)
    assert "BackoffLimitExceeded: it was tried 7 times" == caught.value.why
    assert "kubectl -n torpor logs job/torpor-setup says why." in caught.value.do


def test_a_setup_job_that_is_gone_is_not_waited_for() -> None:
    """Somebody else is at work there."""
    with pytest.raises(Failure, match="Job torpor-setup failed") as caught:
        ready.wait(Recorded(jobs=[None]), [], never)
    assert "Somebody deleted it." == caught.value.why


def test_the_setup_job_may_take_its_time() -> None:
    """It is asked again until it is complete."""
    slept: list[float] = []
    ready.wait(Recorded(jobs=[job(), job(), job(COMPLETE)]), [], slept.append)
    assert 2 == len(slept)


def test_a_setup_job_that_never_ends_is_given_up() -> None:
    """With the same next step, and the exit code of what took too long."""
    slept: list[float] = []
    with pytest.raises(Failure, match="is not done after 660 s") as caught:
        ready.wait(Recorded(jobs=[job()]), [], slept.append)
    assert (660, Exit.TIMED_OUT) == (sum(slept), caught.value.code)
    assert "logs job/torpor-setup" in caught.value.do


def test_functions_that_do_not_come_are_named_with_their_reason() -> None:
    """Those that were deployed; the server of a model is another matter."""
    with pytest.raises(Failure, match=r"not every function is ready: auth$") as caught:
        deploy.deploy(Path("folder"), Recorded(refuses="wait"))
    assert "auth: RevisionFailed: the image was not found" == caught.value.why
    assert "kubectl -n torpor get pods" in caught.value.do


def test_a_server_that_does_not_come_says_where_to_look() -> None:
    """At its pod, which knows about images and volumes."""
    with pytest.raises(Failure, match="refused") as caught:
        deploy.deploy(Path("folder"), Recorded(refuses="rollout status statefulset/seaweedfs"))
    assert "kubectl -n torpor describe pod seaweedfs-0" in caught.value.do
