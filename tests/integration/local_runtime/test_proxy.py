"""A call passes through the front door unchanged, as a stream, and no longer than its caller wants it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientError


@pytest.fixture
async def service(runtime: Any, echo: Any) -> Any:
    """A runtime with the service `hello` ready."""
    await runtime.store.create(echo("hello"))
    await runtime.ready("hello")
    return runtime


async def test_server_sent_events_arrive_one_by_one(service: Any) -> None:
    """The first event is with the caller while the instance still has others to send."""
    async with service.client.get(service.url + "/_svc/torpor/hello/stream?chunks=3&gap=0.5") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        first = await answer.content.readuntil(b"\n\n")
        assert first.startswith(b"data: 0 ")
        assert answer.content.is_eof() is False
        rest = await answer.read()
    assert [line.split()[1] for line in rest.split(b"\n\n") if line] == [b"1", b"2"]


async def test_a_caller_who_hangs_up_ends_the_call(service: Any) -> None:
    """The instance notices: an engine stops generating for nobody."""
    async with service.client.get(service.url + "/_svc/torpor/hello/stream?chunks=1000&gap=0.05") as answer:
        await answer.content.readuntil(b"\n\n")
        answer.close()
    await service.until(lambda: "the reader hung up" in service.log("hello"), "the instance notices")


async def test_a_caller_who_stops_waiting_frees_the_place(service: Any) -> None:
    """Before the first byte too: the call is over when its caller is gone, not when the instance is done."""
    call = asyncio.create_task(service.get("/_svc/torpor/hello/slow?s=30"))
    calls = service.serving.replicas("torpor", "hello-00001").activator.meter
    await service.until(lambda: calls.open_calls == 1, "the call is open")
    call.cancel()
    await service.until(lambda: calls.open_calls == 0, "the call is over", timeout_s=10)


async def test_bodies_pass_whatever_their_framing(service: Any) -> None:
    """Small ones, large ones and ones of unknown length arrive whole."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 10_000
            await asyncio.sleep(0)

    for body, length in ((b"small", 5), (b"y" * 1_000_000, 1_000_000), (pieces(), 100_000)):
        async with service.client.post(service.url + "/_svc/torpor/hello/", data=body) as answer:
            assert (await answer.json())["body"] == length


async def test_headers_of_proxies_are_not_the_callers_to_say(service: Any) -> None:
    """Forwarding and Knative headers are replaced or dropped, hop-by-hop headers end here, others pass."""
    headers = {
        "X-Forwarded-For": "10.0.0.1",
        "K-Network-Probe": "queue",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Authorization": "Bearer abc",
        "ce-id": "1",
    }
    seen = (await service.get("/_svc/torpor/hello/", **headers))["headers"]
    assert (seen["authorization"], seen["ce-id"]) == ("Bearer abc", "1")
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-request-id"]
    assert {"k-network-probe", "x-hop"}.isdisjoint(seen)


async def test_paths_pass_as_they_were_written(service: Any) -> None:
    """Nothing decodes, joins or shortens a path on its way."""
    for path in ("/a%2Fb", "/a//b", "/%7Ex?q=%20+&r", "/a;b"):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
        host = "hello.torpor.svc.cluster.local"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        assert f'"path": "{path}"' in answer


async def test_a_stream_is_cut_at_its_timeout(service: Any, echo: Any) -> None:
    """`timeoutSeconds` bounds the whole answer; the caller sees that it is incomplete."""
    await service.store.create(echo("brief", timeoutSeconds=2))
    await service.ready("brief")
    async with service.client.get(service.url + "/_svc/torpor/brief/stream?chunks=100&gap=0.2") as answer:
        with pytest.raises(ClientError):
            await answer.read()


async def test_only_the_brokers_own_deliveries_say_where_an_event_comes_from(service: Any) -> None:
    """`Kn-Namespace` of anybody else is dropped, even with a guessed proof; the proof itself never reaches an instance."""
    url = service.url + "/_svc/torpor/hello/"
    ours = {"Kn-Namespace": "torpor", **service.door.own.proof(url)}
    for said, found in (
        ({"Kn-Namespace": "torpor"}, None),
        ({"Kn-Namespace": "torpor", "Torpor-Delivery-Proof": "guess"}, None),
        ({"Kn-Namespace": "torpor", "Torpor-Delivery-Proof": "gu\u00e9ss"}, None),
        (ours, "torpor"),
    ):
        seen = (await service.get("/_svc/torpor/hello/", **said))["headers"]
        assert (seen.get("kn-namespace"), "torpor-delivery-proof" in seen) == (found, False)
