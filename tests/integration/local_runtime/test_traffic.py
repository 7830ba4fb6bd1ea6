"""Traffic goes where the manifest says: revisions, percentages, tags and HTTPRoutes."""

import asyncio
from collections import Counter
from typing import Any

from kn_model.local.objects import kinds


async def test_percentages_split_calls(runtime: Any, echo: Any) -> None:
    """Of a hundred calls to an 80/20 split both revisions get some, the first one more."""
    await _two_revisions(runtime, echo, [_share("hello-00001", 80), {"latestRevision": True, "percent": 20}])
    answers = await asyncio.gather(*(runtime.get("/_svc/torpor/hello/") for _ in range(100)))
    counted = Counter(answer["revision"] for answer in answers)
    assert counted["hello-00001"] > counted["hello-00002"] > 0
    assert counted.total() == 100


async def test_a_tag_reaches_its_revision_alone(runtime: Any, echo: Any) -> None:
    """A candidate at 0 % takes no call but those to its tag, whose address is in the status."""
    candidate = {"latestRevision": True, "percent": 0, "tag": "candidate"}
    service = await _two_revisions(runtime, echo, [_share("hello-00001", 100), candidate])
    answers = await asyncio.gather(*(runtime.get("/_svc/torpor/hello/") for _ in range(20)))
    assert {answer["revision"] for answer in answers} == {"hello-00001"}
    tagged = next(target for target in service["status"]["traffic"] if target.get("tag") == "candidate")
    assert (tagged["revisionName"], tagged["url"]) == ("hello-00002", runtime.url + "/_svc/torpor/candidate-hello")
    assert (await runtime.get("/_svc/torpor/candidate-hello/"))["revision"] == "hello-00002"
    by_host = await runtime.get("/", Host="candidate-hello.torpor.svc.cluster.local")
    assert by_host["revision"] == "hello-00002"


async def test_a_change_of_traffic_is_no_new_revision(runtime: Any, echo: Any) -> None:
    """Moving traffic makes the generation of the Service move, not that of its Configuration."""
    await _two_revisions(runtime, echo, [_share("hello-00001", 100), {"latestRevision": True, "percent": 0}])
    service = runtime.store.get(kinds.SERVICE, "torpor", "hello")
    service["spec"]["traffic"] = [_share("hello-00002", 100)]
    await runtime.store.update(service)
    await runtime.ready("hello")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00002"
    assert len(runtime.store.list(kinds.REVISION)) == 2


async def test_a_revision_that_nobody_can_reach_stops(runtime: Any, echo: Any) -> None:
    """After a roll-out the old revision's process ends at once, whatever its window."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.update(echo("hello", env={"V": "2"}))
    await runtime.ready("hello")
    await runtime.at_zero("hello-00001")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00002"


async def test_traffic_to_a_missing_revision_leaves_the_old_traffic(runtime: Any, echo: Any) -> None:
    """A target that is not there makes the Route not ready and changes nothing for callers."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    service = runtime.store.get(kinds.SERVICE, "torpor", "hello")
    service["spec"]["traffic"] = [_share("hello-00009", 100)]
    await runtime.store.update(service)
    await runtime.until(lambda: _routes_ready(runtime) == "False", "the route is refused")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"


async def test_traffic_waits_for_the_revision_that_it_names(runtime: Any, echo: Any) -> None:
    """A target that still starts changes nothing for callers, and takes all of them once it is ready."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    pinned = [_share("hello-00002", 100)]
    await runtime.store.update(echo("hello", env={"START_DELAY": "1"}, traffic=pinned))
    await runtime.until(lambda: _routes_ready(runtime) == "Unknown", "the route waits")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"
    await runtime.ready("hello")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00002"


async def test_latest_means_the_latest_that_was_ready(runtime: Any, echo: Any) -> None:
    """A revision that fails to start takes no call: 100 % of `latestRevision` stay where they were, the tag too."""
    follows = [{"latestRevision": True, "percent": 100, "tag": "newest"}]
    await runtime.store.create(echo("hello", traffic=follows))
    await runtime.ready("hello")
    await runtime.store.update(echo("hello", env={"FAIL": "1"}, traffic=follows))

    def failed() -> bool:
        service = runtime.store.get(kinds.SERVICE, "torpor", "hello")
        return bool(service["status"]["latestCreatedRevisionName"] == "hello-00002" and _ready(service) == "False")

    await runtime.until(failed, "the new revision fails")
    service = runtime.store.get(kinds.SERVICE, "torpor", "hello")
    assert (_routes_ready(runtime), service["status"]["latestReadyRevisionName"]) == ("True", "hello-00001")
    for path in ("/_svc/torpor/hello/", "/_svc/torpor/newest-hello/"):
        assert (await runtime.get(path))["revision"] == "hello-00001"


async def test_a_revision_without_a_route_ignores_its_min_scale(runtime: Any, echo: Any) -> None:
    """Where traffic names revisions alone, a new one proves itself, goes to zero, and says that it is in reserve."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    always = {"autoscaling.knative.dev/min-scale": "1"}
    pinned = [_share("hello-00001", 100)]
    await runtime.store.update(echo("hello", annotations=always, env={"V": "2"}, traffic=pinned))

    def slept() -> bool:
        found = runtime.store.find(kinds.REVISION, "torpor", "hello-00002")
        return bool(found and _ready(found) == "True" and found["status"]["actualReplicas"] == 0)

    await runtime.until(slept, "it was ready and went to zero")
    await runtime.until(lambda: _routing(runtime) == {"hello-00001": "active", "hello-00002": "reserve"}, "is labelled")
    candidate = {"latestRevision": True, "percent": 0, "tag": "candidate"}
    await runtime.store.merge_patch(kinds.SERVICE, "torpor", "hello", {"spec": {"traffic": [*pinned, candidate]}})
    await runtime.until(lambda: not slept(), "a tag at 0 % is a route: min-scale holds again")
    assert _routing(runtime) == {"hello-00001": "active", "hello-00002": "active"}


async def test_idle_revisions_are_collected_as_config_gc_says(runtime: Any, echo: Any) -> None:
    """With nothing to be kept, a revision without traffic goes, unless it is pinned."""
    data = {
        "retain-since-create-time": "0s",
        "retain-since-last-active-time": "0s",
        "min-non-active-revisions": "0",
    }
    where = {"name": "config-gc", "namespace": "knative-serving"}
    await runtime.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": data})
    await runtime.store.create(echo("hello", annotations={"serving.knative.dev/no-gc": "true"}))
    await runtime.ready("hello")
    for version in "23":
        await runtime.store.update(echo("hello", env={"V": version}))
        await runtime.ready("hello")
    await runtime.until(lambda: _routing(runtime).keys() == {"hello-00001", "hello-00003"}, "the middle one goes")


async def test_instances_know_whose_they_are(runtime: Any, echo: Any) -> None:
    """K_SERVICE, K_CONFIGURATION and K_REVISION are injected, over whatever the manifest says."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    env = await runtime.get("/_svc/torpor/hello/env")
    assert ("hello", "hello", "hello-00001") == (env["K_SERVICE"], env["K_CONFIGURATION"], env["K_REVISION"])


async def test_http_routes_lead_outside_calls_in(runtime: Any, echo: Any) -> None:
    """The longest prefix wins, methods count, a prefix is replaced; no route is 404."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.create(_route("api", "/models", "hello", method="GET"))
    await runtime.store.create(_route("engine", "/m/small", "hello", replace="/"))
    assert (await runtime.get("/models/1?a=b"))["path"] == "/models/1?a=b"
    assert (await runtime.get("/m/small/v1/models"))["path"] == "/v1/models"
    assert (await runtime.status("/models", "DELETE"))[0] == 404
    status, body = await runtime.status("/modelsX")
    assert (status, body["title"]) == (404, "Not found")


async def test_events_are_not_taken_from_outside(runtime: Any, echo: Any) -> None:
    """A route that would lead to a function's /events does not; brokers get there by its cluster address."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.create(_route("all", "/", "hello"))
    assert (await runtime.status("/events", "POST"))[0] == 404
    assert (await runtime.status("/_svc/torpor/hello/events", "POST"))[0] == 200


async def test_web_pages_cannot_reach_cluster_addresses(runtime: Any, echo: Any) -> None:
    """A browser says where a page comes from, and a name that was pointed at loopback is not ours."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.create(_route("all", "/", "hello"))
    assert (await runtime.status("/_svc/torpor/hello/", "POST", Origin="http://evil.example"))[0] == 403
    assert (await runtime.status("/_svc/torpor/hello/", **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await runtime.status("/", Host="evil.example"))[0] == 421


async def test_a_service_that_is_being_made_is_not_missing(runtime: Any, echo: Any) -> None:
    """Before the first revision is ready: 503 and when to come again. A service that nobody made: 404."""
    await runtime.store.create(echo("hello", env={"START_DELAY": "3"}))
    async with runtime.client.get(runtime.url + "/_svc/torpor/hello/") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (await runtime.status("/_svc/torpor/nothing/"))[0] == 404


async def _two_revisions(runtime: Any, echo: Any, traffic: list[dict[str, Any]]) -> Any:
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.update(echo("hello", env={"V": "2"}, traffic=traffic))
    return await runtime.ready("hello")


def _share(revision: str, percent: int) -> dict[str, Any]:
    return {"revisionName": revision, "percent": percent}


def _routes_ready(runtime: Any) -> str:
    conditions = runtime.store.get(kinds.SERVICE, "torpor", "hello")["status"]["conditions"]
    return str(next(one["status"] for one in conditions if one["type"] == "RoutesReady"))


def _ready(obj: dict[str, Any]) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return str(next((one["status"] for one in conditions if one["type"] == "Ready"), ""))


def _routing(runtime: Any) -> dict[str, str]:
    """Revision -> its routing state."""
    label = "serving.knative.dev/routingState"
    revisions = runtime.store.list(kinds.REVISION)
    return {each["metadata"]["name"]: each["metadata"]["labels"].get(label, "") for each in revisions}


def _route(name: str, prefix: str, service: str, *, method: str | None = None, replace: str | None = None) -> Any:
    match = {"path": {"type": "PathPrefix", "value": prefix}} | ({"method": method} if method else {})
    path = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": replace}} if replace else {}
    rewrite = {"hostname": f"{service}.torpor.svc.cluster.local"} | path
    backend = {"name": "kourier-internal", "namespace": "kourier-system", "port": 80}
    rule = {"matches": [match], "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}], "backendRefs": [backend]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "torpor"},
        "spec": {"rules": [rule]},
    }


async def test_the_brokers_address_before_there_is_one(runtime: Any) -> None:
    """While the runtime starts, senders are asked to come again: it is not that no such service exists."""
    status, body = await runtime.status("/_svc/knative-eventing/broker-ingress/torpor/default", "POST")
    assert (503, "the broker is starting") == (status, body["detail"])
