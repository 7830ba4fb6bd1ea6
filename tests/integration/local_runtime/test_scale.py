"""A service sleeps until it is called, and every call is answered."""

import asyncio
import os
import signal
from typing import Any

from kn_model.local.objects import kinds


async def test_a_service_becomes_ready_and_answers(runtime: Any, echo: Any) -> None:
    """One instance proves a new revision; its calls reach it by cluster address and by Host."""
    await runtime.store.create(echo("hello"))
    service = await runtime.ready("hello")
    assert service["status"]["latestReadyRevisionName"] == "hello-00001"
    assert (await runtime.get("/_svc/torpor/hello/a?b=c"))["path"] == "/a?b=c"
    by_host = await runtime.get("/a", Host="hello.torpor.svc.cluster.local")
    assert by_host["headers"]["host"] == "hello.torpor.svc.cluster.local"
    assert (await runtime.get("/a", Host="hello.torpor.localhost"))["revision"] == "hello-00001"


async def test_it_goes_to_zero_and_wakes_for_a_call(runtime: Any, echo: Any, quick: Any) -> None:
    """After the window without a call no process is left; the next call starts one and is answered by it."""
    await runtime.store.create(echo("hello", annotations=quick))
    await runtime.ready("hello")
    first = (await runtime.get("/_svc/torpor/hello/"))["pid"]
    await runtime.at_zero("hello-00001")
    await runtime.until(lambda: not _alive(first), "the process has ended")

    def said(kind: str) -> tuple[str, str]:
        return _condition(runtime.store.get(kinds.REVISION, "torpor", "hello-00001"), kind)

    await runtime.until(lambda: said("Active") == ("False", "NoTraffic"), "the revision says so")
    assert said("Ready") == ("True", "")
    assert (await runtime.get("/_svc/torpor/hello/"))["pid"] != first


async def test_all_calls_that_find_nothing_are_held(runtime: Any, echo: Any, quick: Any) -> None:
    """Fifty calls at once to a sleeping service start one instance and are all answered by it."""
    await runtime.store.create(echo("hello", annotations=quick, env={"START_DELAY": "0.5"}))
    await runtime.ready("hello")
    await runtime.at_zero("hello-00001")
    answers = await asyncio.gather(*(runtime.get(f"/_svc/torpor/hello/{number}") for number in range(50)))
    assert [answer["path"] for answer in answers] == [f"/{number}" for number in range(50)]
    assert len({answer["pid"] for answer in answers}) == 1


async def test_an_open_call_is_never_cut_by_scaling_to_zero(runtime: Any, echo: Any, quick: Any) -> None:
    """A call that takes longer than the window keeps its instance."""
    await runtime.store.create(echo("hello", annotations=quick))
    await runtime.ready("hello")
    assert await runtime.get("/_svc/torpor/hello/slow?s=6") == {"slept": "6"}


async def test_calls_around_the_end_of_an_instance_are_answered(runtime: Any, echo: Any, quick: Any) -> None:
    """Calls that come just as the instance is let go are served, by it or by the next one."""
    await runtime.store.create(echo("hello", annotations=quick))
    await runtime.ready("hello")
    for _ in range(3):
        replicas = runtime.serving.replicas("torpor", "hello-00001")
        assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00001"
        letting_go = asyncio.get_running_loop().call_later(0.01, replicas.scale_to, 0)
        answers = await asyncio.gather(*(_later(runtime, number / 1000) for number in range(20)))
        assert [answer["revision"] for answer in answers] == ["hello-00001"] * 20
        letting_go.cancel()


async def test_a_killed_instance_is_replaced_for_the_next_call(runtime: Any, echo: Any) -> None:
    """After `kill -9` of the process the next call is answered by a new one, once its end is seen."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    first = (await runtime.get("/_svc/torpor/hello/"))["pid"]
    os.kill(first, signal.SIGKILL)
    # Until then a call may reach the socket of the one that is just dying, and gets a 502.
    replicas = runtime.serving.replicas("torpor", "hello-00001")
    await runtime.until(lambda: not replicas.state().ready, "its end is seen")
    assert (await runtime.get("/_svc/torpor/hello/"))["pid"] != first


async def test_one_that_is_killed_while_nobody_calls_leaves_a_healthy_service(
    runtime: Any, echo: Any, quick: Any
) -> None:
    """It had just become ready: the first end is forgiven, and at zero the revision sleeps like any other."""
    await runtime.store.create(echo("hello", annotations=quick))
    await runtime.ready("hello")
    (instance,) = runtime.serving.replicas("torpor", "hello-00001").activator.ready
    os.kill(instance.process.pid, signal.SIGKILL)
    await runtime.at_zero("hello-00001")
    asleep = ("False", "NoTraffic")
    await runtime.until(
        lambda: _condition(runtime.store.get(kinds.REVISION, "torpor", "hello-00001"), "Active") == asleep, "sleeps"
    )


async def test_min_scale_keeps_instances(runtime: Any, echo: Any) -> None:
    """Two instances are wanted, two run; calls go to the one with fewer open calls."""
    await runtime.store.create(echo("hello", annotations={"autoscaling.knative.dev/min-scale": "2"}))
    await runtime.ready("hello")
    await runtime.until(
        lambda: runtime.store.get(kinds.REVISION, "torpor", "hello-00001")["status"]["actualReplicas"] == 2, "two run"
    )
    slow = [asyncio.create_task(runtime.get("/_svc/torpor/hello/slow?s=1")) for _ in range(2)]
    answers = await asyncio.gather(*slow, *(runtime.get("/_svc/torpor/hello/") for _ in range(10)))
    assert len({answer["pid"] for answer in answers[2:]}) == 2


async def test_container_concurrency_is_a_limit(runtime: Any, echo: Any) -> None:
    """With a limit of one call per instance and one instance, calls run one after the other."""
    one = {"autoscaling.knative.dev/max-scale": "1"}
    await runtime.store.create(echo("hello", annotations=one, containerConcurrency=1))
    await runtime.ready("hello")
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(runtime.get("/_svc/torpor/hello/slow?s=0.2") for _ in range(5)))
    assert asyncio.get_running_loop().time() - began > 5 * 0.2, "they did not overlap"


def _condition(obj: Any, type_: str) -> tuple[str, str]:
    found = next(one for one in obj["status"]["conditions"] if one["type"] == type_)
    return found["status"], found.get("reason", "")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _later(runtime: Any, delay_s: float) -> Any:
    await asyncio.sleep(delay_s)
    return await runtime.get("/_svc/torpor/hello/")
