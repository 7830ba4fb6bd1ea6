"""Least privilege: what containers may do on their node, and service accounts in the cluster."""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
HARDENED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Ours, and the official image's own user of PostgreSQL.
USERS = {"postgres": 999}
# Who talks to the Kubernetes API: serve creates models' services, setup writes two Secrets.
WITH_TOKEN = {"torpor-serve", "torpor-setup"}


def pods(objects: Sequence[Object]) -> list[Object]:
    """The pod specs of Knative Services, Jobs and StatefulSets."""
    return [each["spec"]["template"]["spec"] for each in objects if "template" in each.get("spec", {})]


def containers(objects: Sequence[Object]) -> list[Object]:
    """Every container."""
    return [container for pod in pods(objects) for container in pod["containers"]]


def rules(objects: Sequence[Object]) -> list[tuple[str, Object]]:
    """(role, rule) of every Role."""
    return [(each["metadata"]["name"], rule) for each in objects if each["kind"] == "Role" for rule in each["rules"]]


def test_containers_give_up_what_they_do_not_need(objects: Sequence[Object]) -> None:
    """The restricted Pod Security Standard and a read-only root, said on each container: Knative defaults to none."""
    for container in containers(objects):
        user = {"runAsUser": USERS.get(container["name"], 65532)}
        assert {**HARDENED, **user} == container["securityContext"], container["name"]


def test_containers_say_what_they_need(objects: Sequence[Object]) -> None:
    """Requests for the scheduler, a memory limit for the neighbours, no CPU limit for the cold start."""
    for container in containers(objects):
        assert {"cpu", "memory"} == container["resources"]["requests"].keys(), container["name"]
        assert {"memory"} == container["resources"]["limits"].keys(), container["name"]


def test_every_pod_has_an_account_of_its_own(objects: Sequence[Object]) -> None:
    """Nobody runs as the namespace's default account, and accounts exist."""
    accounts = {each["metadata"]["name"] for each in objects if each["kind"] == "ServiceAccount"}
    used = [pod["serviceAccountName"] for pod in pods(objects)]
    assert len(used) == len(set(used))
    assert set(used) <= accounts


def test_only_those_who_call_the_api_get_a_token(objects: Sequence[Object]) -> None:
    """A stolen pod is worth as little as possible."""
    with_token = {pod["serviceAccountName"] for pod in pods(objects) if pod.get("automountServiceAccountToken", True)}
    assert with_token == WITH_TOKEN


def test_no_role_has_a_wildcard(objects: Sequence[Object]) -> None:
    """Groups, resources and verbs are named one by one, and nothing is granted cluster-wide."""
    for name, rule in rules(objects):
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), name
    assert [] == [each["metadata"]["name"] for each in objects if each["kind"].startswith("ClusterRole")]


def test_reading_secrets_is_limited_to_those_that_setup_makes(objects: Sequence[Object]) -> None:
    """Setup may read the Secrets that it writes; nobody may read or list the others."""
    readers = [
        (name, rule.get("resourceNames"))
        for name, rule in rules(objects)
        if "secrets" in rule["resources"] and rule["verbs"] != ["create"]
    ]
    assert [("torpor-setup", ["torpor-admin", "torpor-inference"])] == readers


def test_no_secret_is_committed(objects: Sequence[Object]) -> None:
    """Secrets are made by the operator, or by the laptop runtime."""
    assert [] == [each["metadata"]["name"] for each in objects if each["kind"] == "Secret"]


def test_roles_are_bound_to_the_account_of_their_name(objects: Sequence[Object]) -> None:
    """One role, one account: a binding that drifts is seen."""
    for each in objects:
        if each["kind"] == "RoleBinding":
            subject = {"kind": "ServiceAccount", "name": each["roleRef"]["name"], "namespace": "torpor"}
            assert [subject] == each["subjects"]
