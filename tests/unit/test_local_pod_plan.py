"""A manifest becomes a process: environment, arguments, volumes and limits, as a kubelet would resolve them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from kn_model.local.addresses import Addresses
from kn_model.local.objects.kinds import CONFIG_MAP, SECRET, Kind, Object
from kn_model.local.serving.container_env import ConfigError, expand
from kn_model.local.serving.pod_plan import Machine, Place, Plan, plan
from kn_model.local.serving.volumes import write

MACHINE = Machine(
    Addresses("http://127.0.0.1:8780", "https://127.0.0.1:6443"),
    python="/venv/bin/python",
    work=Path("/clone"),
    environ={"PATH": "/bin", "SECRET_OF_THE_SHELL": "no"},
)


def lookup(kind: Kind, name: str) -> Object | None:
    """One ConfigMap and one Secret."""
    objects: dict[tuple[Kind, str], Object] = {
        (CONFIG_MAP, "torpor"): {"data": {"A": "from-map", "TORPOR_URL": "http://auth.torpor.svc.cluster.local/x"}},
        (SECRET, "keys"): {"data": {"key": base64.b64encode(b"s3cret").decode()}},
    }
    return objects.get((kind, name))


def planned(container: dict[str, Any], folder: Path = Path("/pods/i"), **pod: Any) -> Plan:
    """The plan for a container that runs `python x`, unless it says otherwise."""
    metadata = {
        "name": "hello-00001",
        "labels": {"serving.knative.dev/service": "hello", "serving.knative.dev/configuration": "hello"},
    }
    spec = {"containers": [{"command": ["python", "x"]} | container]} | pod
    return plan({"metadata": metadata, "spec": spec}, Place("i", 4001, folder), MACHINE, lookup)


def test_what_knative_injects_is_there_and_nothing_of_the_shell() -> None:
    """PORT and the K_ variables; of the runtime's own environment only what an image would bring."""
    env = planned({}).env
    assert {name: env[name] for name in ("PORT", "HOST", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")} == {
        "PORT": "4001",
        "HOST": "127.0.0.1",
        "K_SERVICE": "hello",
        "K_CONFIGURATION": "hello",
        "K_REVISION": "hello-00001",
    }
    assert (env["PATH"], env.get("SECRET_OF_THE_SHELL")) == ("/bin", None)
    assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")


def test_env_comes_from_all_its_sources() -> None:
    """`env` wins over `envFrom`; keys of Secrets and ConfigMaps are read; cluster addresses become local."""
    env = planned(
        {
            "envFrom": [{"configMapRef": {"name": "torpor"}}],
            "env": [
                {"name": "A", "value": "own"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
                {"name": "BOTH", "value": "$(A)-$(KEY)-$(MISSING)-$$(A)"},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}},
            ],
        }
    ).env
    assert (env["A"], env["KEY"], env["BOTH"]) == ("own", "s3cret", "own-s3cret-$(MISSING)-$(A)")
    assert env["TORPOR_URL"] == "http://127.0.0.1:8780/_svc/torpor/auth/x"
    assert "NONE" not in env


def test_arguments_are_substituted_never_executed() -> None:
    """`$(NAME)` of the environment is replaced; shell syntax stays text; `python` is the runtime's interpreter."""
    argv = planned({"args": ["--port=$(PORT)", "$(rm -rf /)", "`id`", "; ls"]}).argv
    assert argv == ["/venv/bin/python", "x", "--port=4001", "$(rm -rf /)", "`id`", "; ls"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A", "$A"), ("$(A", "$(A"), ("$(B)$(A)", "$(B)1")],
)
def test_expansion_is_that_of_kubernetes(text: str, expected: str) -> None:
    """The cases of Kubernetes' own expansion."""
    assert expand(text, {"A": "1"}) == expected


def test_mounts_are_folders_and_their_paths_are_translated(tmp_path: Path) -> None:
    """A Secret's files lie in the instance's folder; env and arguments that name the mount path point there."""
    found = planned(
        {
            "args": ["--key", "/etc/keys/key", "--other", "/etc/keys2/key"],
            "env": [{"name": "HOME", "value": "/scratch"}, {"name": "LIST", "value": "/etc/keys:/scratch/x"}],
            "volumeMounts": [
                {"name": "keys", "mountPath": "/etc/keys"},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            ],
        },
        tmp_path,
        volumes=[
            {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {"medium": "Memory"}},
        ],
    )
    write(found.mounts)
    assert found.argv[2:] == ["--key", f"{tmp_path}/keys/key", "--other", "/etc/keys2/key"]
    assert (found.env["HOME"], found.env["LIST"]) == (f"{tmp_path}/scratch", f"{tmp_path}/keys:{tmp_path}/scratch/x")
    assert found.env["TMPDIR"] == str(tmp_path / "tmp")
    assert (tmp_path / "keys/key").read_bytes() == b"s3cret"
    assert (tmp_path / "keys/key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_volume_cannot_leave_its_folder(path: str) -> None:
    """A path with `..` in a manifest is refused before anything is written."""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volume = {"name": "v", "secret": {"secretName": "keys", "items": [{"key": "key", "path": path}]}}
    with pytest.raises(ConfigError, match="must be relative"):
        planned(mount, volumes=[volume])


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"command": None}, "the container has no `command`"),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]}, 'secret "no" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "torpor", "key": "k"}}}]},
            "couldn't find key k in ConfigMap torpor",
        ),
        ({"volumeMounts": [{"name": "no", "mountPath": "/v"}]}, 'no volume is named "no"'),
    ],
    ids=["command", "secret", "key", "volume"],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    """The reason for CreateContainerConfigError is one that a person can act on."""
    with pytest.raises(ConfigError, match=message):
        planned(container)


def test_limits_are_numbers() -> None:
    """Memory in bytes, GPUs as devices."""
    found = planned({"resources": {"limits": {"memory": "1536Mi", "nvidia.com/gpu": "2"}}})
    assert (found.memory_limit, found.gpus) == (1536 * 2**20, 2)
