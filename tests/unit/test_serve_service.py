"""The Knative Service and the HTTPRoute of a server: what the cluster reads, and that its webhooks take them."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from functions.kit.settings import Secret
from functions.serve import cluster, planning, service
from functions.serve.planning import Model
from functions.serve.requests import Gpu, Scale, ServeOptions
from functions.serve.runtimes import Runtimes
from functions.serve.service import Server
from functions.serve.settings import Settings
from kn_model.local.admission.admit import admit
from tests.deliveries import FUNCTION_KEYS
from tests.unit.serve_models import SMOLLM2

SERVER = Server(
    "22222222-2222-4222-8222-222222222222",
    "smollm2",
    "11111111-1111-4111-8111-111111111111",
    "SmolLM2-135M-Instruct",
)
SETTINGS = Settings(
    database_url=Secret("postgresql://torpor:hunter2@db/torpor"),
    event_keys=FUNCTION_KEYS,
    public_url="http://front.example/",
    s3_endpoint="http://s3.example",
    s3_bucket="torpor",
    s3_access_key=Secret("none"),
    s3_secret_key=Secret("none"),
    inference_key=Secret("none"),
)
METADATA = {"config": SMOLLM2, "weights_bytes": 269_030_016, "parameters": {"BF16": 134_515_008}}
MODEL = Model(SERVER.model_uuid, SERVER.model_name, "available", METADATA)
SCRATCH = "/tmp"  # noqa: S108  # where the volume is mounted in the container
REQUESTS = [
    pytest.param("vllm-cpu", ServeOptions(), id="cpu"),
    pytest.param("vllm", ServeOptions(), id="gpu"),
    pytest.param("vllm", ServeOptions(gpu=Gpu(memory_mb=40960, count=4), memory_mb=65536), id="big gpu"),
    pytest.param("vllm-cpu", ServeOptions(scale=Scale(min=3, max=9, window_s=3600, retention_s=3600)), id="scale"),
]


def built(runtime: str = "vllm-cpu", options: ServeOptions | None = None) -> dict[str, Any]:
    """The Knative Service."""
    plan = planning.plan(MODEL, options or ServeOptions(), Runtimes(), runtime)
    return service.knative_service(SERVER, plan, SETTINGS)


def test_an_engine_sends_its_spans_where_serve_sends_its_own() -> None:
    """Told of a collector or of none."""
    plan = planning.plan(MODEL, ServeOptions(), Runtimes(), "vllm-cpu")
    told = replace(SETTINGS, otlp_endpoint="http://collector:4318")
    variable = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}
    assert variable in container(service.knative_service(SERVER, plan, told))["env"]
    assert not [each for each in container(built())["env"] if each["name"].startswith("OTEL_")]


def test_an_engine_sends_usage_where_serve_is_told_to() -> None:
    """Which is not where serve sends its own events: those have an outbox."""
    plan = planning.plan(MODEL, ServeOptions(), Runtimes(), "vllm-cpu")
    told = replace(SETTINGS, usage_sink="http://sink/events", broker_url="http://broker/")
    variables = {
        entry["name"]: entry.get("value") for entry in container(service.knative_service(SERVER, plan, told))["env"]
    }
    assert ("http://sink/events", False) == (variables["TORPOR_USAGE_SINK"], "TORPOR_BROKER_URL" in variables)


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    """Its only container."""
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("runtime", "options"), REQUESTS)
def test_knatives_webhook_takes_it(runtime: str, options: ServeOptions) -> None:
    """Every runtime, at any scale, without a feature flag."""
    manifest = built(runtime, options)
    assert admit(manifest)["metadata"]["name"] == "smollm2"


@pytest.mark.parametrize(("runtime", "options"), REQUESTS)
def test_applying_it_again_changes_nothing(runtime: str, options: ServeOptions) -> None:
    """What the webhook filled in is no difference, or every redelivery would make a new revision."""
    manifest = built(runtime, options)
    stored = admit(manifest)
    assert cluster.merge(stored, manifest) == stored


def test_the_route_is_taken_as_well() -> None:
    """And applying it again changes nothing either."""
    route = service.http_route(SERVER, SETTINGS)
    stored = admit(route)
    assert cluster.merge(stored, route) == stored


def test_labels_lead_from_the_objects_to_the_record() -> None:
    """On the Service, on its template and so on every revision, and on the route."""
    manifest, route = built(), service.http_route(SERVER, SETTINGS)
    places = [manifest["metadata"], manifest["spec"]["template"]["metadata"], route["metadata"]]
    labels = [(place["labels"]["torpor.dev/model"], place["labels"]["torpor.dev/server"]) for place in places]
    assert labels == [(SERVER.model_uuid, SERVER.uuid)] * 3


def test_it_is_reached_through_the_gateway_alone() -> None:
    """Knative gives it no public host name."""
    assert built()["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_autoscaling_stands_on_the_template() -> None:
    """On the Service's own metadata the webhook refuses it."""
    manifest = built(options=ServeOptions(scale=Scale(min=1, max=4, target=2, window_s=30, retention_s=10)))
    assert "annotations" not in manifest["metadata"]
    assert manifest["spec"]["template"]["metadata"]["annotations"] == {
        "autoscaling.knative.dev/min-scale": "1",
        "autoscaling.knative.dev/max-scale": "4",
        "autoscaling.knative.dev/target": "2",
        "autoscaling.knative.dev/window": "30s",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "10s",
        "serving.knative.dev/progress-deadline": "600s",
    }


def test_a_call_may_wait_for_a_cold_start() -> None:
    """Up to Knative's cap; by default it would be cut after 300 s."""
    spec = built()["spec"]["template"]["spec"]
    assert (spec["timeoutSeconds"], spec["responseStartTimeoutSeconds"]) == (600, 600)


def test_the_engine_may_do_nothing_it_does_not_need() -> None:
    """The restricted profile, no token, a read-only root; scratch space is bounded."""
    spec = built()["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert container(built())["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"])


def test_secrets_are_references() -> None:
    """No credential is written into an object that everybody with `get services` can read."""
    manifest = json.dumps(built())
    variables = {entry["name"]: entry for entry in container(built())["env"]}
    assert variables["TORPOR_S3_SECRET_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "torpor-s3", "key": "secret-key"}
    }
    assert variables["TORPOR_ENGINE_EVENT_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "torpor-events", "key": "engines"}
    }
    assert "hunter2" not in manifest


def test_an_engine_cannot_sign_as_a_function() -> None:
    """It runs other people's models: with the functions' key, one that is taken over could ask for anything."""
    manifest = json.dumps(built())
    assert ("TORPOR_EVENT_KEY" in manifest, '"functions"' in manifest) == (False, False)
    assert FUNCTION_KEYS[0].reveal() not in manifest


def test_the_engine_knows_who_it_is() -> None:
    """Names, model and arguments travel in the environment."""
    values = {entry["name"]: entry.get("value") for entry in container(built())["env"]}
    names = ("TORPOR_SERVER_NAME", "TORPOR_MODEL_NAME", "TORPOR_MODEL_UUID", "HOME")
    assert [values[name] for name in names] == ["smollm2", "SmolLM2-135M-Instruct", SERVER.model_uuid, SCRATCH]
    assert json.loads(str(values["TORPOR_ENGINE_ARGS"]))[0] == "--enforce-eager"


def test_gpus_are_limits() -> None:
    """As many as the contract chose; a CPU server asks for none."""
    assert container(built("vllm"))["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(built())["resources"]["limits"]


def test_the_route_strips_the_prefix_and_names_the_host() -> None:
    """/m/smollm2/v1/models is the engine's /v1/models, found by Knative under the cluster-local host."""
    (rule,) = service.http_route(SERVER, SETTINGS)["spec"]["rules"]
    assert rule == {
        "matches": [{"path": {"type": "PathPrefix", "value": "/m/smollm2"}}],
        "filters": [
            {
                "type": "URLRewrite",
                "urlRewrite": {
                    "hostname": "smollm2.torpor.svc.cluster.local",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
                },
            }
        ],
        "backendRefs": [{"name": "kourier-internal", "namespace": "kourier-system", "port": 80}],
        "timeouts": {"request": "0s"},
    }


def test_the_gateway_url_is_an_openai_base_url() -> None:
    """One slash between the parts, whatever the setting ends with."""
    assert service.gateway_url("smollm2", SETTINGS) == "http://front.example/m/smollm2/v1"


def test_an_update_keeps_what_others_wrote() -> None:
    """Knative's annotations, a person's labels and traffic stay; the template becomes ours."""
    stored = admit(built())
    stored["metadata"]["labels"]["team"] = "search"
    stored["spec"]["traffic"] = [{"latestRevision": True, "percent": 100, "tag": "stable"}]
    before = copy.deepcopy(stored)
    merged = cluster.merge(stored, built(options=ServeOptions(params={"max_model_len": 1024})))
    assert (merged["metadata"], merged["spec"]["traffic"]) == (before["metadata"], before["spec"]["traffic"])
    assert merged["spec"]["template"] != before["spec"]["template"]
    assert stored == before
