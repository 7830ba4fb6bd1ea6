"""`kn` works against the runtime's API: every call that it makes, as it makes it, over HTTPS, and every field that it reads.

kn itself cannot be installed here, so its calls are a table: read from knative/client 1.23 (`pkg/serving/v1/client.go`,
`pkg/wait`, `pkg/commands`). Plain JSON typed clients: no discovery, no Table, and no `fieldValidation`.
The file is long because it is that table.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from kn_model.local.objects import kinds

Json = dict[str, Any]
SERVING = "/apis/serving.knative.dev/v1/namespaces/torpor"
EVENTING = "/apis/eventing.knative.dev/v1/namespaces/torpor"
LABEL = "serving.knative.dev/"
WITHIN_S = 40


@dataclass
class Kn:
    """kn's HTTP client: a token, JSON, nothing else. `last` are the headers of the last answer."""

    url: str
    client: ClientSession
    tls: ssl.SSLContext
    last: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Json]:
        """Status and document."""
        merge = method == "PATCH"
        headers = {
            "Accept": "application/json, */*",
            "Authorization": "Bearer administrator's",
            "Content-Type": "application/merge-patch+json" if merge else "application/json",
        }
        sent = body if isinstance(body, str | None) else json.dumps(body)
        async with self.client.request(
            method, self.url + path, data=sent, params=query, headers=headers, ssl=self.tls
        ) as answer:
            self.last = dict(answer.headers)
            return answer.status, await answer.json()

    async def ok(self, method: str, path: str, body: Any = None, **query: str) -> Json:
        """The document of a call that has to succeed."""
        status, found = await self.call(method, path, body, **query)
        assert status in (200, 201), found
        return found

    async def ready(self, name: str) -> Json:
        """As kn waits: what is Ready already, else the first MODIFIED whose status speaks of its generation."""
        service = await self.ok("GET", f"{SERVING}/services/{name}")
        if _is_ready(service):
            return service
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": service["metadata"]["resourceVersion"],
            "timeoutSeconds": "630",
        }
        async with asyncio.timeout(WITHIN_S):
            async for type_, obj in self.events(f"{SERVING}/services", query):
                assert type_ == "MODIFIED"
                if _is_ready(obj):
                    return obj
        raise AssertionError(f"{name} did not become ready")

    async def events(self, path: str, query: dict[str, str]) -> AsyncIterator[tuple[str, Json]]:
        """A watch: (type, object) of each line."""
        headers = {"Authorization": "Bearer administrator's"}
        async with self.client.get(self.url + path, params=query, headers=headers, ssl=self.tls) as answer:
            assert answer.status == 200
            async for line in answer.content:
                event = json.loads(line)
                yield event["type"], event["object"]


def _is_ready(service: Json) -> bool:
    status = service.get("status") or {}
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    return status.get("observedGeneration") == service["metadata"]["generation"] and conditions.get("Ready") == "True"


@pytest.fixture
async def kn(kubectl: Any, tmp_path: Path) -> AsyncIterator[Kn]:
    """A client of the API that the kubectl fixture serves."""
    async with ClientSession() as client:
        context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.crt"))
        yield Kn(kubectl.server, client, context)


def _service(echo: Any, **parts: Any) -> Json:
    """What `kn service create hello --image echo` posts, with a command in place of the image's own."""
    made: Json = echo("hello", **parts)
    made["spec"]["template"]["metadata"]["annotations"] |= {
        "client.knative.dev/updateTimestamp": "2026-01-01T00:00:00Z",
        "client.knative.dev/user-image": "echo",
    }
    return made


async def test_service_create(kn: Kn, echo: Any) -> None:
    """Is it there (404 with a Status)? Create, wait, read. What the webhook adds is in the answer to the POST."""
    status, missing = await kn.call("GET", f"{SERVING}/services/hello")
    details = {"name": "hello", "group": "serving.knative.dev", "kind": "services"}
    assert (status, missing["kind"], missing["reason"], missing["details"]) == (404, "Status", "NotFound", details)
    made = await kn.ok("POST", f"{SERVING}/services", _service(echo))
    spec, annotations = made["spec"]["template"]["spec"], made["metadata"]["annotations"]
    assert made["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    assert (spec["containerConcurrency"], spec["timeoutSeconds"], spec["enableServiceLinks"]) == (0, 30, False)
    assert spec["containers"][0]["readinessProbe"] == {"successThreshold": 1, "tcpSocket": {"port": 0}}
    assert annotations == {f"{LABEL}creator": "kubernetes-admin", f"{LABEL}lastModifier": "kubernetes-admin"}
    assert (made["metadata"]["generation"], "status" in made) == (1, False)
    status, again = await kn.call("POST", f"{SERVING}/services", _service(echo))
    assert (status, again["reason"], again["details"]) == (409, "AlreadyExists", details)
    ready = (await kn.ready("hello"))["status"]
    assert ready["latestCreatedRevisionName"] == ready["latestReadyRevisionName"] == "hello-00001"
    assert ready["url"] == ready["address"]["url"]
    assert ready["traffic"] == [{"revisionName": "hello-00001", "latestRevision": True, "percent": 100}]


async def test_service_update_traffic_and_tag(kn: Kn, echo: Any) -> None:
    """GET, then PUT with the version that was read; a second writer loses. `--traffic` and `--tag` are one change of spec."""
    await kn.ok("POST", f"{SERVING}/services", _service(echo))
    first = await kn.ready("hello")
    changed = json.loads(json.dumps(first))
    changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "V", "value": "2"}]
    changed["spec"]["traffic"] = [
        {"revisionName": "hello-00001", "percent": 90, "latestRevision": False},
        {"latestRevision": True, "percent": 10, "tag": "canary"},
    ]
    put = await kn.ok("PUT", f"{SERVING}/services/hello", changed)
    assert (put["metadata"]["generation"], put["status"]["observedGeneration"]) == (2, 1)
    status, conflict = await kn.call("PUT", f"{SERVING}/services/hello", changed)
    assert (status, conflict["reason"], conflict["details"]["name"]) == (409, "Conflict", "hello")
    ready = await kn.ready("hello")
    pinned, canary = ready["status"]["traffic"]
    assert pinned == {"revisionName": "hello-00001", "latestRevision": False, "percent": 90}
    assert (canary["revisionName"], canary["tag"], canary["percent"]) == ("hello-00002", "canary", 10)
    assert canary["url"].endswith("canary-hello")
    del changed["metadata"]["resourceVersion"]
    status, invalid = await kn.call("PUT", f"{SERVING}/services/hello", changed)
    assert (status, invalid["reason"]) == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in invalid["message"]


async def test_service_apply(kn: Kn, echo: Any) -> None:
    """A merge patch: the answer has the next generation and a status that does not know of it yet; nothing changed is neither."""
    await kn.ok("POST", f"{SERVING}/services", _service(echo))
    before = await kn.ready("hello")
    container = before["spec"]["template"]["spec"]["containers"][0] | {"env": [{"name": "V", "value": "2"}]}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    patch = {"metadata": {"annotations": applied}, "spec": {"template": {"spec": {"containers": [container]}}}}
    patched = await kn.ok("PATCH", f"{SERVING}/services/hello", patch)
    assert (patched["metadata"]["generation"], patched["status"]["observedGeneration"]) == (2, 1)
    assert patched["metadata"]["annotations"][f"{LABEL}creator"] == "kubernetes-admin"
    ready = await kn.ready("hello")
    assert (ready["status"]["latestReadyRevisionName"], ready["status"]["observedGeneration"]) == ("hello-00002", 2)
    unchanged = await kn.ok("PATCH", f"{SERVING}/services/hello", patch)
    assert unchanged["metadata"]["resourceVersion"] == ready["metadata"]["resourceVersion"]
    assert unchanged["metadata"]["generation"] == unchanged["status"]["observedGeneration"] == 2


async def test_service_delete(kn: Kn, echo: Any) -> None:
    """A watch that waits for DELETED; what the service owned goes with it."""
    await kn.ok("POST", f"{SERVING}/services", _service(echo))
    service = await kn.ready("hello")
    query = {
        "watch": "true",
        "fieldSelector": "metadata.name=hello",
        "resourceVersion": service["metadata"]["resourceVersion"],
        "timeoutSeconds": "60",
    }

    async def gone() -> Json:
        async for type_, obj in kn.events(f"{SERVING}/services", query):
            if type_ == "DELETED":
                return obj
        raise AssertionError

    waiting = asyncio.create_task(gone())
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    deleted = await kn.ok("DELETE", f"{SERVING}/services/hello", body)
    assert (deleted["kind"], deleted["status"]) == ("Status", "Success")
    async with asyncio.timeout(WITHIN_S):
        assert (await waiting)["metadata"]["uid"] == service["metadata"]["uid"]
    assert (await kn.ok("GET", f"{SERVING}/revisions"))["items"] == []
    assert (await kn.call("DELETE", f"{SERVING}/services/hello"))[1]["reason"] == "NotFound"


async def test_lists_and_describes(kn: Kn, echo: Any, runtime: Any) -> None:
    """`service list|describe`, `revision list|describe`, `route list`: all that is printed is there, and no map is missing."""
    await kn.ok("POST", f"{SERVING}/services", _service(echo))
    await kn.ready("hello")
    for path, query in (
        (f"{SERVING}/services", {}),
        (f"{SERVING}/services", {"fieldSelector": "metadata.name=hello"}),
        ("/apis/serving.knative.dev/v1/services", {}),
        (f"{SERVING}/routes", {}),
        (f"{SERVING}/revisions", {"labelSelector": f"{LABEL}service=hello"}),
        (f"{SERVING}/revisions", {"fieldSelector": "metadata.name=hello-00001"}),
    ):
        listed = await kn.ok("GET", path, **query)
        assert (len(listed["items"]), listed["kind"].endswith("List")) == (1, True), path
        assert int(listed["metadata"]["resourceVersion"]) > 0
    for query in ({"labelSelector": f"{LABEL}service=other"}, {"fieldSelector": "metadata.name=other"}):
        assert (await kn.ok("GET", f"{SERVING}/revisions", **query))["items"] == []
    status, refused = await kn.call("GET", f"{SERVING}/revisions", fieldSelector="spec.timeoutSeconds=1")
    assert (status, refused["reason"]) == (400, "BadRequest")
    revision = await kn.ok("GET", f"{SERVING}/revisions/hello-00001")
    metadata, status_ = revision["metadata"], revision["status"]
    assert metadata["annotations"][f"{LABEL}creator"] == "kubernetes-admin"
    assert (metadata["labels"][f"{LABEL}service"], metadata["labels"][f"{LABEL}configuration"]) == ("hello", "hello")
    assert (metadata["labels"][f"{LABEL}configurationGeneration"], metadata["generation"]) == ("1", 1)
    assert metadata["creationTimestamp"].endswith("Z")
    assert status_["containerStatuses"] == [{"name": "user-container", "imageDigest": "echo"}]
    assert (status_["actualReplicas"], status_["desiredReplicas"], status_["observedGeneration"]) == (1, 1, 1)
    conditions = {each["type"]: each["status"] for each in status_["conditions"]}
    assert conditions == dict.fromkeys(("Active", "ContainerHealthy", "Ready", "ResourcesAvailable"), "True")
    assert (await kn.ok("GET", f"{SERVING}/configurations/hello"))["status"]["latestReadyRevisionName"] == "hello-00001"
    route = await kn.ok("GET", f"{SERVING}/routes/hello")
    assert (route["status"]["traffic"][0]["revisionName"], bool(route["status"]["url"])) == ("hello-00001", True)
    assert runtime.store.get(kinds.SERVICE, "torpor", "hello")["metadata"]["generation"] == 1


async def test_broker_and_trigger_lists(kn: Kn) -> None:
    """`broker list`, `trigger list` and what they ask for beside; `source list` asks for definitions by label."""
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}, "spec": {}}
    made = await kn.ok("POST", f"{EVENTING}/brokers", broker)
    assert made["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "MTChannelBasedBroker"
    assert made["spec"]["delivery"] == {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}
    trigger = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "t"},
        "spec": {"broker": "default", "filter": {"attributes": {"type": "a"}}, "subscriber": {"ref": ref}},
    }
    made = await kn.ok("POST", f"{EVENTING}/triggers", trigger)
    assert made["metadata"]["labels"] == {"eventing.knative.dev/broker": "default"}
    assert made["spec"]["subscriber"]["ref"]["namespace"] == "torpor"
    for plural, kind in (("brokers", "BrokerList"), ("triggers", "TriggerList")):
        listed = await kn.ok("GET", f"{EVENTING}/{plural}")
        assert (listed["kind"], len(listed["items"])) == (kind, 1)
    labels = {"labelSelector": "duck.knative.dev/source=true"}
    definitions = await kn.ok("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", **labels)
    assert (definitions["kind"], definitions["items"]) == ("CustomResourceDefinitionList", [])
    changed = made | {"spec": made["spec"] | {"broker": "other"}}
    status, refused = await kn.call("PUT", f"{EVENTING}/triggers/t", changed)
    assert (status, "Immutable fields changed" in refused["message"]) == (400, True), refused


REFUSED = [
    (
        {"metadata": {"annotations": {f"{LABEL}creator": "me"}}},
        400,
        "annotation value is immutable: metadata.annotations",
    ),
    ({"metadata": {"annotations": {f"{LABEL}lastModifier": "me"}}}, 400, "annotation value is immutable"),
    ({"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "1"}}}, 400, "must be put under"),
    ({"spec": {"traffic": [{"latestRevision": True, "percent": 90}]}}, 400, "Traffic targets sum to 90, want 100"),
    (
        {"spec": {"traffic": [{"revisionName": "hello-00001", "latestRevision": True, "percent": 100}]}},
        400,
        "may not set revisionName",
    ),
    ({"spec": {"traffic": [{"latestRevision": True, "percent": 100, "tag": "No"}]}}, 400, "not a DNS 1035 label"),
    ({"spec": {"template": {"spec": {"timeoutSeconds": 601}}}}, 400, "expected 0 <= 601 <= 600"),
    ({"spec": {"template": {"spec": {"timeoutSeconds": "long"}}}}, 400, "timeoutSeconds"),
    ({"metadata": {"resourceVersion": "1"}}, 409, "the object has been modified"),
]


async def test_what_the_webhook_refuses(kn: Kn, echo: Any) -> None:
    """With a Status that names the field; the object stays as it was."""
    await kn.ok("POST", f"{SERVING}/services", _service(echo))
    before = await kn.ready("hello")
    for patch, code, words in REFUSED:
        status, refused = await kn.call("PATCH", f"{SERVING}/services/hello", patch)
        assert (status, refused["kind"], refused["code"]) == (code, "Status", code), patch
        assert words in refused["message"], refused
    after = await kn.ok("GET", f"{SERVING}/services/hello")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_field_validation(kn: Kn, echo: Any) -> None:
    """Strict refuses, Warn (which is what silence means) drops and says so, Ignore drops. Of a cluster's field none is dropped."""
    manifest = echo("hello")
    manifest["spec"]["template"]["spec"] |= {"terminationGracePeriodSeconds": 5}
    manifest["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {}
    where = "spec.template.spec.terminationGracePeriodSeconds"
    status, refused = await kn.call("POST", f"{SERVING}/services", manifest, fieldValidation="Strict", dryRun="All")
    assert (status, refused["reason"]) == (400, "BadRequest")
    assert (refused["message"].startswith("strict decoding error: "), where in refused["message"]) == (True, True)
    for query, warned in (({}, True), ({"fieldValidation": "Warn"}, True), ({"fieldValidation": "Ignore"}, False)):
        made = await kn.ok("POST", f"{SERVING}/services", manifest, dryRun="All", **query)
        pod = made["spec"]["template"]["spec"]
        assert ("terminationGracePeriodSeconds" in pod, "lifecycle" in pod["containers"][0]) == (False, False)
        assert ("Warning" in kn.last) is warned
    text = json.dumps(echo("hello")).replace('"timeoutSeconds": 30', '"timeoutSeconds": 29, "timeoutSeconds": 30')
    status, refused = await kn.call("POST", f"{SERVING}/services", text, fieldValidation="Strict", dryRun="All")
    assert (status, 'duplicate field "spec.template.spec.timeoutSeconds"' in refused["message"]) == (400, True), refused
    await kn.ok("POST", f"{SERVING}/services", text, dryRun="All")
    assert "duplicate field" in kn.last["Warning"]
    manifest["spec"]["template"]["spec"] = echo("hello")["spec"]["template"]["spec"] | {"affinity": {}}
    status, refused = await kn.call("POST", f"{SERVING}/services", manifest, dryRun="All")
    assert (status, "must not set the field(s): spec.template.spec.affinity" in refused["message"]) == (400, True)
