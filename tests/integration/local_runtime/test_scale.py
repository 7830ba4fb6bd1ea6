"""A service sleeps until it is called, and every call is answered."""

from typing import Any



async def test_a_service_becomes_ready_and_answers(runtime: Any, echo: Any) -> None:
    """One instance proves a new revision; its calls reach it by cluster address and by Host."""
    await runtime.store.create(echo("hello"))
    service = await runtime.ready("hello")
    assert service["status"]["latestReadyRevisionName"] == "hello-00001"
    assert (await runtime.get("/_svc/torpor/hello/a?b=c"))["path"] == "/a?b=c"
    by_host = await runtime.get("/a", Host="hello.torpor.svc.cluster.local")
    assert by_host["headers"]["host"] == "hello.torpor.svc.cluster.local"
    assert (await runtime.get("/a", Host="hello.torpor.localhost"))["revision"] == "hello-00001"
