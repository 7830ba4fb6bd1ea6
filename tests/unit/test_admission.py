"""What admission makes of an object: defaults, who wrote it, the words of a refusal, the cluster's configuration."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from kn_model.local.admission.admit import Denied, admit
from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.formats import go_duration, iso_period


def service(**spec: Any) -> dict[str, Any]:
    """The smallest Knative Service, with fields of the pod spec added."""
    pod = {"containers": [{"image": "torpor-functions"}], **spec}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "auth", "namespace": "torpor"},
        "spec": {"template": {"spec": pod}},
    }


def pod_of(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod spec of an admitted Service."""
    spec: Mapping[str, Any] = obj["spec"]["template"]["spec"]
    return spec


def test_a_service_gets_knatives_defaults() -> None:
    """A Service that says only its image comes out as Knative would store it."""
    expected = {
        "template": {
            "spec": {
                "containers": [
                    {
                        "image": "torpor-functions",
                        "name": "user-container",
                        "resources": {},
                        "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
                    }
                ],
                "timeoutSeconds": 300,
                "containerConcurrency": 0,
                "enableServiceLinks": False,
            }
        },
        "traffic": [{"latestRevision": True, "percent": 100}],
    }
    assert expected == admit(service())["spec"]


def test_a_long_timeout_gets_a_limit_for_the_first_byte() -> None:
    """Where a call may take longer than 300 s, its answer has to start within them."""
    assert admit(service(timeoutSeconds=600))["spec"]["template"]["spec"]["responseStartTimeoutSeconds"] == 300


def test_a_periodic_probe_gets_thresholds() -> None:
    """With a period a probe is Kubernetes': three failures, one second each."""
    container = {"image": "i", "readinessProbe": {"httpGet": {"path": "/"}, "periodSeconds": 5}}
    actual = pod_of(admit(service(containers=[container])))["containers"][0]["readinessProbe"]
    expected = {
        "httpGet": {"path": "/"},
        "periodSeconds": 5,
        "successThreshold": 1,
        "failureThreshold": 3,
        "timeoutSeconds": 1,
    }
    assert expected == actual


def test_mounts_of_secrets_are_read_only() -> None:
    """What cannot be written is mounted so; scratch space is left writable."""
    container = {"image": "i", "volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "t", "mountPath": "/t"}]}
    volumes = [{"name": "s", "secret": {"secretName": "x"}}, {"name": "t", "emptyDir": {}}]
    mounts = pod_of(admit(service(containers=[container], volumes=volumes)))["containers"][0]["volumeMounts"]
    assert [True, None] == [mount.get("readOnly") for mount in mounts]


def test_the_object_given_is_left_as_it_was() -> None:
    """Admission answers with a new object."""
    given = service()
    before = copy.deepcopy(given)
    admit(given)
    assert before == given


def test_admitting_twice_changes_nothing() -> None:
    """Defaults are a fixed point: what was stored can be written back."""
    once = admit(service())
    assert once == admit(once, once)


def test_creator_and_modifier_are_recorded() -> None:
    """`kn` shows who created a Service and who changed it last."""
    created = admit(service(), user="ada")
    changed = admit({**created, "spec": service(timeoutSeconds=20)["spec"]}, created, user="bob")
    expected = {"serving.knative.dev/creator": "ada", "serving.knative.dev/lastModifier": "bob"}
    assert expected == changed["metadata"]["annotations"]


def test_a_write_that_changes_nothing_keeps_the_modifier() -> None:
    """Looking at a Service and writing it back is no modification."""
    created = admit(service(), user="ada")
    assert created == admit(created, created, user="bob")


def test_a_broker_without_delivery_gets_the_default_one() -> None:
    """The default policy comes only when nothing at all is said: it is not merged."""
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}}
    delivery = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
    assert delivery == admit(broker)["spec"]["delivery"]
    assert admit({**broker, "spec": {"delivery": {"retry": 1}}})["spec"]["delivery"] == {"retry": 1}


def test_a_subscriber_without_namespace_is_in_the_triggers() -> None:
    """References stay inside the namespace."""
    reference = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "serve"}
    trigger = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "t", "namespace": "torpor"},
        "spec": {"broker": "default", "subscriber": {"ref": reference}},
    }
    assert admit(trigger)["spec"]["subscriber"]["ref"]["namespace"] == "torpor"


def test_a_refusal_reads_as_knatives() -> None:
    """The webhook's name, its words and the field: what people search for."""
    with pytest.raises(Denied) as denied:
        admit(service(timeoutSeconds=700))
    expected = (
        'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
        "expected 0 <= 700 <= 600: spec.template.spec.timeoutSeconds"
    )
    assert expected == denied.value.message
    assert (400, "BadRequest") == (denied.value.code, denied.value.reason)


def test_all_findings_are_told_at_once() -> None:
    """One round is enough to learn everything that is wrong."""
    with pytest.raises(Denied, match=r"containerConcurrency\nexpected.*timeoutSeconds"):
        admit(service(timeoutSeconds=700, containerConcurrency=1001))


def test_a_value_of_the_wrong_type_is_refused_with_its_path() -> None:
    """A word where a number belongs does not reach the rules."""
    with pytest.raises(Denied, match=r"spec\.template\.spec\.timeoutSeconds: expected an integer, got str"):
        admit(service(timeoutSeconds="long"))


def test_kinds_without_a_webhook_pass() -> None:
    """A ConfigMap is nobody's business here."""
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "torpor"}, "data": {"a": "b"}}
    assert config_map == admit(config_map)


def test_config_maps_open_fields_and_raise_limits() -> None:
    """What an administrator patches decides what is admitted, under the keys that Knative reads."""
    config = ClusterConfig.from_config_maps(
        {
            "config-features": {"kubernetes.podspec-nodeselector": "enabled", "multi-container": "disabled"},
            "config-defaults": {"max-revision-timeout-seconds": "3600", "revision-timeout-seconds": "400"},
            "config-autoscaler": {"allow-zero-initial-scale": "true"},
        }
    )
    expected = ClusterConfig(
        features=frozenset({"kubernetes.podspec-nodeselector", "kubernetes.podspec-volumes-emptydir"}),
        max_timeout_s=3600,
        timeout_s=400,
        zero_initial_scale=True,
    )
    assert expected == config
    assert (
        pod_of(admit(service(nodeSelector={"gpu": "yes"}, timeoutSeconds=3600), config=config))["timeoutSeconds"]
        == 3600
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1m30s", 90.0),
        ("1500ms", 1.5),
        ("-2s", -2.0),
        ("0", 0.0),
        ("1.5h", 5400.0),
        ("5", None),
        ("", None),
        ("1d", None),
    ],
)
def test_go_durations_are_read_as_go_reads_them(text: str, expected: float | None) -> None:
    """A number needs a unit, units add up, and a day is none."""
    assert expected == go_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT0.2S", 0.2),
        ("PT1M30S", 90.0),
        ("P1DT1H", 90_000.0),
        ("PT", None),
        ("P", None),
        ("1s", None),
        ("PT-1S", None),
    ],
)
def test_periods_are_read_as_iso_8601(text: str, expected: float | None) -> None:
    """`PT` alone is nothing, and a sign is not part of a delay."""
    assert expected == iso_period(text)
