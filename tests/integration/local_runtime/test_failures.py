"""When an instance cannot start, people read why."""

from typing import Any

from kn_model.local.objects import kinds


async def test_a_crash_loop_has_a_readable_reason(runtime: Any, echo: Any) -> None:
    """The exit code and the last words are in the revision and the service, and in the answer to a call."""
    await runtime.store.create(echo("bad", env={"FAIL": "on purpose"}))
    await runtime.until(lambda: _ready(runtime, "bad")["status"] == "False", "it fails")
    assert _ready(runtime, "bad")["reason"] == "RevisionFailed"
    assert "refusing to start, FAIL=on purpose" in _ready(runtime, "bad")["message"]
    revision = runtime.store.get(kinds.REVISION, "torpor", "bad-00001")
    healthy = next(one for one in revision["status"]["conditions"] if one["type"] == "ContainerHealthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "ExitCode1")
    status, body = await runtime.status("/_svc/torpor/bad/")
    assert (status, body["title"], body["phase"]) == (503, "Not ready", "failed")
    assert "refusing to start, FAIL=on purpose" in body["detail"]


async def test_an_instance_that_keeps_dying_is_not_started_in_a_loop(runtime: Any, echo: Any) -> None:
    """It became ready and died twice within seconds: callers are told why, and when to try again."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    replicas = runtime.serving.replicas("torpor", "hello-00001")
    for _ in range(2):
        # A POST, since a GET whose connection breaks off is tried again: it is idempotent (RFC 9110 section 9.2.2).
        assert (await runtime.status("/_svc/torpor/hello/exit/7", "POST"))[0] == 502
        # Until then the next call may reach the socket of the one that is just dying.
        await runtime.until(lambda: not replicas.state().ready, "its end is seen")
    await runtime.until(lambda: replicas.backing_off, "it backs off")
    status, body = await runtime.status("/_svc/torpor/hello/")
    assert (status, body["reason"]) == (503, "ExitCode7")


async def test_starting_is_given_up_at_the_progress_deadline(runtime: Any, echo: Any) -> None:
    """A revision that never came up is not tried for ever; its status keeps the last reason."""
    deadline = {"serving.knative.dev/progress-deadline": "2s"}
    await runtime.store.create(echo("bad", annotations=deadline, env={"FAIL": "yes"}))
    await runtime.until(lambda: "Initial scale was never achieved" in _ready(runtime, "bad").get("message", ""), "ends")
    revision = runtime.store.get(kinds.REVISION, "torpor", "bad-00001")
    assert (revision["status"]["desiredReplicas"], revision["status"]["actualReplicas"]) == (0, 0)
    assert "FAIL=yes" in _ready(runtime, "bad")["message"]


async def test_a_new_revision_that_fails_takes_no_traffic(runtime: Any, echo: Any) -> None:
    """The old revision goes on answering, and mending the manifest mends the service."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    await runtime.store.update(echo("hello", env={"FAIL": "yes"}))
    await runtime.until(lambda: _ready(runtime, "hello")["status"] == "False", "it fails")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"
    await runtime.store.update(echo("hello", env={"FIXED": "yes"}))
    await runtime.ready("hello")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00003"


async def test_a_service_that_stops_starting_says_so_to_callers(runtime: Any, echo: Any, quick: Any) -> None:
    """A revision was fine and its Secret has gone since: 503 with the reason and when to try again."""
    await runtime.store.create(_secret())
    variable = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "word"}}}
    await runtime.store.create(echo("hello", annotations=quick, container={"env": [variable]}))
    await runtime.ready("hello")
    await runtime.at_zero("hello-00001")
    await runtime.store.delete(kinds.SECRET, "torpor", "words")
    async with runtime.client.get(runtime.url + "/_svc/torpor/hello/") as answer:
        body = await answer.json(content_type="application/problem+json")
        assert answer.headers["Retry-After"] == "1"
    assert (body["status"], body["phase"], body["reason"]) == (503, "failed", "CreateContainerConfigError")
    assert body["detail"] == 'secret "words" not found'
    await runtime.store.create(_secret())
    await runtime.until(lambda: not runtime.serving.replicas("torpor", "hello-00001").backing_off, "back-off ends")
    assert (await runtime.get("/_svc/torpor/hello/env"))["WORD"] == "torpid"


async def test_no_gpu_is_said_at_once(runtime: Any, echo: Any) -> None:
    """A revision that wants a GPU on a machine without one is refused in the scheduler's words."""
    limits = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    await runtime.store.create(echo("hello", container=limits))
    await runtime.until(lambda: _ready(runtime, "hello")["status"] == "False", "it fails")
    assert "1 Insufficient nvidia.com/gpu" in _ready(runtime, "hello")["message"]


async def test_an_instance_over_its_memory_limit_is_ended(runtime: Any, echo: Any) -> None:
    """The limit of the manifest holds, and the status says OOMKilled."""
    limits = {"resources": {"limits": {"memory": "4Mi"}}}
    await runtime.store.create(echo("hello", container=limits))
    await runtime.until(lambda: _active(runtime, "hello-00001").get("reason") == "OOMKilled", "it is ended")


async def test_a_call_that_takes_too_long_ends(runtime: Any, echo: Any) -> None:
    """Without a first byte in time the caller gets 504; the instance is free again."""
    await runtime.store.create(echo("hello", timeoutSeconds=30, responseStartTimeoutSeconds=1))
    await runtime.ready("hello")
    status, body = await runtime.status("/_svc/torpor/hello/slow?s=5")
    assert (status, body["title"]) == (504, "Timed out")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"


def _secret() -> dict[str, Any]:
    metadata = {"name": "words", "namespace": "torpor"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"word": "torpid"}}


def _ready(runtime: Any, service: str) -> dict[str, str]:
    status = runtime.store.get(kinds.SERVICE, "torpor", service).get("status") or {"conditions": []}
    return next((one for one in status["conditions"] if one["type"] == "Ready"), {"status": ""})


def _active(runtime: Any, revision: str) -> dict[str, str]:
    found = runtime.store.find(kinds.REVISION, "torpor", revision) or {}
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Active"), {})


async def test_who_was_held_as_long_as_may_be_is_told_to_come_again(runtime: Any, echo: Any) -> None:
    """The start goes on meanwhile. Clients of OpenAI's API find the phase where they look, in `error`."""
    # Longer than the start, which nobody waits for in the end.
    window = {"autoscaling.knative.dev/window": "6s"}
    manifest = echo("slow", annotations=window, env={"START_DELAY": "3"}, responseStartTimeoutSeconds=1)
    await runtime.store.create(manifest)
    await runtime.ready("slow")
    await runtime.at_zero("slow-00001")
    async with runtime.client.get(runtime.url + "/_svc/torpor/slow/v1/models") as answer:
        body = await answer.json(content_type="application/problem+json")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert (body["title"], body["phase"], body["error"]["phase"]) == ("Still starting", "starting", "starting")
    assert body["error"]["type"] == "server_error"
    await runtime.until(lambda: bool(_actual(runtime, "slow-00001")), "the start goes on")
    assert (await runtime.get("/_svc/torpor/slow/"))["revision"] == "slow-00001"


async def test_who_finds_every_instance_busy_is_told_so(runtime: Any, echo: Any) -> None:
    """It is not starting: it has as many instances as it may, and each has the call that it takes."""
    one = {"autoscaling.knative.dev/max-scale": "1"}
    manifest = echo("one", annotations=one, containerConcurrency=1, responseStartTimeoutSeconds=1)
    await runtime.store.create(manifest)
    await runtime.ready("one")
    async with runtime.client.get(runtime.url + "/_svc/torpor/one/stream?chunks=50&gap=0.1") as busy:
        await busy.content.readline()
        status, body = await runtime.status("/_svc/torpor/one/")
    assert (busy.status, status, body["phase"]) == (200, 503, "busy")


def _actual(runtime: Any, revision: str) -> int:
    return int(runtime.store.get(kinds.REVISION, "torpor", revision)["status"]["actualReplicas"])
