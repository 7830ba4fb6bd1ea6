"""Every pod, of whichever kind it is made, passes the `restricted` profile, is probed and limited, and has no idle token."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.manifests import goldens
from tests.manifests.engine import knative_service
from tests.manifests.restricted import violations

Object = dict[str, Any]
RUNTIMES = ("vllm", "vllm-cpu")
# The queue-proxy of Knative Serving 1.23 (pkg/reconciler/revision/resources/queue.go), which stands beside every function.
QUEUE_PROXY: Object = {
    "name": "queue-proxy",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """(kind/name, pod spec) of what becomes pods, as it becomes them."""
    for each in objects:
        if "template" in each.get("spec", {}):
            pod = copy.deepcopy(each["spec"]["template"]["spec"])
            if each["apiVersion"].startswith("serving.knative.dev/"):
                pod["containers"].append(QUEUE_PROXY)
            yield f"{each['kind']}/{each['metadata']['name']}", pod


def test_pods_pass_the_restricted_profile(objects: Sequence[Object]) -> None:
    """What `pod-security.kubernetes.io/enforce: restricted` would refuse is refused here."""
    assert len(list(pods(objects))) >= 5
    assert {} == {name: found for name, pod in pods(objects) if (found := list(violations(pod)))}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_engines_pass_the_restricted_profile(runtime: str) -> None:
    """What serve makes at run time stands in the same namespace."""
    assert [] == [found for _, pod in pods([knative_service(runtime)]) for found in violations(pod)]


def own(pod: Object) -> list[Object]:
    """The containers that are ours."""
    return [container for container in pod["containers"] if container is not QUEUE_PROXY and "image" in container]


def test_what_serves_is_probed_and_limited(objects: Sequence[Object]) -> None:
    """A pod that hangs is found, and one that grows hurts no neighbour. A Job ends by itself: it has a deadline."""
    for name, pod in pods([*objects, *(knative_service(runtime) for runtime in RUNTIMES)]):
        for container in own(pod):
            assert name.startswith("Job/") or "readinessProbe" in container, name
            assert "memory" in container["resources"]["limits"], name
    jobs = [each for each in objects if each["kind"] == "Job"]
    assert all(job["spec"]["activeDeadlineSeconds"] for job in jobs)


def test_memory_volumes_have_a_size(objects: Sequence[Object]) -> None:
    """An emptyDir without a limit fills the node."""
    for name, pod in pods([*objects, *(knative_service(runtime) for runtime in RUNTIMES)]):
        unlimited = [each["name"] for each in pod.get("volumes", ()) if "emptyDir" in each and not each["emptyDir"]]
        assert [] == unlimited, name


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_engines_get_no_token_of_the_cluster(runtime: str) -> None:
    """An engine never calls the Kubernetes API."""
    ((_, pod),) = pods([knative_service(runtime)])
    assert pod["automountServiceAccountToken"] is False


def enforced(name: str) -> str:
    """The level that the namespace refuses below."""
    (namespace,) = [each for each in goldens.rendered(name) if each["kind"] == "Namespace"]
    return str(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])


def test_production_enforces_the_profile() -> None:
    """Refused at the door and not only here; lower only where the Broker's own pods stand in the namespace."""
    expected = {"prod": "restricted", "kafka-gateway-api": "restricted", "kafka-kourier": "restricted"}
    assert {**expected, "rabbitmq-traefik": "baseline"} == {
        name: enforced(name) for name in (*expected, "rabbitmq-traefik")
    }


GOOD: Object = {"containers": [QUEUE_PROXY]}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (GOOD, []),
        ({**GOOD, "hostNetwork": True}, ["hostNetwork"]),
        ({**GOOD, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, ["volume v: hostPath"]),
        (
            {"containers": [{"name": "c"}]},
            [
                "c: allowPrivilegeEscalation is not false",
                "c: runAsNonRoot is not true",
                "c: seccompProfile is not RuntimeDefault or Localhost",
                "c: capabilities do not drop ALL",
            ],
        ),
        (
            {
                "containers": [
                    {**QUEUE_PROXY, "securityContext": {**QUEUE_PROXY["securityContext"], "privileged": True}}
                ]
            },
            ["queue-proxy: privileged is True"],
        ),
        (
            {"containers": [{**QUEUE_PROXY, "securityContext": {**QUEUE_PROXY["securityContext"], "runAsUser": 0}}]},
            ["queue-proxy: runAsUser is 0"],
        ),
    ],
)
def test_the_profile_refuses_what_it_should(pod: Object, expected: list[str]) -> None:
    """The checks above can fail."""
    assert expected == list(violations(pod))
