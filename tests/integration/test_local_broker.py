"""The laptop runtime's broker over HTTP, on a real PostgreSQL: what it accepts, it delivers.

The file is long because one broker behind one set of fixtures; each test is short.
"""

import asyncio
import base64
import io
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from kn_model.local import ports
from kn_model.local.addresses import Addresses
from kn_model.local.eventing.broker import Broker
from kn_model.local.eventing.worker import AT_ONCE
from kn_model.local.objects import kinds
from kn_model.local.own_deliveries import NAMESPACE
from tests.integration.broker_stage import DELIVERY, EVENT, INGRESS, WAIT_S, Stage, Subscribers, running

LETTERS = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "letters"}}
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def stage(empty_database: str) -> AsyncIterator[Stage]:
    """A running broker without triggers."""
    async with running(empty_database, Subscribers()) as started:
        yield started


async def test_a_broker_that_starts_asks_to_be_asked_again(stage: Stage) -> None:
    """It does not know yet which Brokers there are: 404 would be wrong, and final for some senders."""
    starting = Broker(stage.store, stage.ledger, stage.broker._dispatcher._send, Addresses(front="", kube=""))
    request = make_mocked_request("POST", "/torpor/default")
    answer = await starting.ingress(request, "/torpor/default")
    assert (503, "2") == (answer.status, answer.headers["retry-after"])


async def test_an_event_reaches_the_triggers_that_want_it(stage: Stage) -> None:
    """Filters decide who gets it; it arrives once, at the subscriber's uri, with its attributes, and is then forgotten."""
    await stage.subscribe("one", "a.happened")
    await stage.subscribe("two", "b.happened")
    status = await stage.publish("a.happened", "7")
    (call,) = await stage.subscribers.until("one", 1)
    await stage.drained()
    assert (status, call["ce-id"], call["ce-source"], stage.subscribers.of("two")) == (202, "7", "/test", [])
    assert call[NAMESPACE] == "torpor"


async def test_arrival_is_stamped_and_the_ttl_is_hidden(stage: Stage) -> None:
    """Subscribers see when the broker took the event, and not its hop count."""
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened", **{"ce-knativebrokerttl": "3"})
    (call,) = await stage.subscribers.until("one", 1)
    assert ("ce-knativearrivaltime" in call, "ce-knativebrokerttl" in call) == (True, False)


async def test_a_structured_event_is_delivered_in_binary_mode(stage: Stage) -> None:
    """Both modes go in, binary comes out."""
    await stage.subscribe("one", "a.happened")
    event = {"specversion": "1.0", "id": "é", "source": "/s", "type": "a.happened", "data": {"x": 1}}
    url = f"{stage.front}{INGRESS}/torpor/default"
    headers = {"content-type": "application/cloudevents+json"}
    async with stage.session.post(url, json=event, headers=headers) as answer:
        status = answer.status
    (call,) = await stage.subscribers.until("one", 1)
    assert (status, call["ce-id"], stage.subscribers.calls[0][2]) == (202, "%C3%A9", b'{"x":1}')


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"ce-id": ""}, 400),
        ({"ce-id": "%C0%A0"}, 400),
        ({"ce-time": "yesterday"}, 400),
        ({"ce-Model_id": "x"}, 400),
        ({"ce-knativebrokerttl": "0"}, 400),
        ({"content-type": "application/cloudevents-batch+json"}, 400),
    ],
)
async def test_what_is_no_event_is_refused(stage: Stage, change: dict[str, str], status: int) -> None:
    """A sender learns at once that its message can never be delivered."""
    found = await stage.publish("a.happened", **change)
    assert found == status


@pytest.mark.parametrize(
    ("call", "headers", "status"),
    [
        ("POST /torpor/default", EVENT, 202),
        ("POST /torpor/default/", EVENT, 202),
        ("POST /torpor/other", EVENT, 404),
        ("POST /torpor/other", {}, 400),  # what is no event is refused before anybody looks for the broker
        ("POST /torpor", EVENT, 400),
        ("POST /torpor/default/more", EVENT, 400),
        ("POST /torpor/default?x=1", EVENT, 404),  # a query is part of the name
        ("POST /", EVENT, 404),
        ("GET /torpor/default", {}, 405),
        ("PUT /torpor/default", EVENT, 405),
        ("OPTIONS /torpor/default", {}, 200),
    ],
)
async def test_the_ingress_answers_as_knatives(
    stage: Stage, call: str, headers: Mapping[str, str], status: int
) -> None:
    """Status by method, path and event (eventing 1.23 `pkg/broker/ingress/ingress_handler.go`, ServeHTTP)."""
    method, _, path = call.partition(" ")
    url = f"{stage.front}{INGRESS}{path}"
    async with stage.session.request(method, url, headers=headers) as answer:
        allow = "POST, OPTIONS" if status in (200, 405) else None
        assert (answer.status, answer.headers.get("allow")) == (status, allow)


async def test_an_event_has_a_largest_size(stage: Stage) -> None:
    """413 above 1 MiB, also where the length is not said: ours, for Knative's has no limit, and Kafka's has this one."""
    url = f"{stage.front}{INGRESS}/torpor/default"
    found = []
    for size in (1_048_576, 1_048_577):
        async with stage.session.post(url, headers=EVENT, data=io.BytesIO(b"x" * size)) as answer:
            found.append(answer.status)
    assert found == [202, 413]


async def test_a_failing_subscriber_is_tried_again(stage: Stage) -> None:
    """503 twice, then success: three attempts, nothing left."""
    answers = iter([503, 429, 204])

    async def sometimes(_: web.Request) -> web.Response:
        return web.Response(status=next(answers))

    stage.subscribers.behave["one"] = sometimes
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened")
    await stage.drained()
    assert len(stage.subscribers.of("one")) == 3


async def test_what_cannot_be_delivered_goes_to_the_dead_letter_sink(stage: Stage) -> None:
    """After all retries the sink gets the event with where, how and with what words it failed; then it is over."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500, text="out of order")

    stage.subscribers.behave["one"] = broken
    sink = {
        "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "letters"},
        "uri": "/deadletters",
    }
    await stage.subscribe("one", "a.happened", {**DELIVERY, "deadLetterSink": sink})
    await stage.publish("a.happened", "7")
    (letter,) = await stage.subscribers.until("letters", 1)
    await stage.drained()
    found = (
        len(stage.subscribers.of("one")),
        letter["ce-id"],
        letter["ce-knativeerrorcode"],
        letter["ce-knativeerrordata"],
    )
    assert found == (4, "7", "500", "b3V0IG9mIG9yZGVy")
    assert letter["ce-knativeerrordest"] == f"{stage.front}/_svc/torpor/one/events"


async def test_a_refused_event_is_not_tried_again(stage: Stage) -> None:
    """400 means never: one attempt, then the broker's dead letter sink, of which there is none here."""

    async def refuses(_: web.Request) -> web.Response:
        return web.Response(status=400)

    stage.subscribers.behave["one"] = refuses
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened")
    await stage.drained()
    assert len(stage.subscribers.of("one")) == 1


async def test_a_reply_is_an_event_of_the_same_broker(stage: Stage) -> None:
    """A subscriber that answers with an event sets off the triggers for it."""

    async def replies(_: web.Request) -> web.Response:
        reply = {"ce-specversion": "1.0", "ce-id": "r", "ce-source": "/one", "ce-type": "b.happened"}
        return web.Response(headers=reply)

    stage.subscribers.behave["one"] = replies
    await stage.subscribe("one", "a.happened")
    await stage.subscribe("two", "b.happened")
    await stage.publish("a.happened")
    (call,) = await stage.subscribers.until("two", 1)
    assert call["ce-source"] == "/one"


async def test_a_loop_of_replies_ends(stage: Stage) -> None:
    """A reply of the type that caused it stops when its TTL is used up, of which the ingress and each reply take one off.

    Source: eventing 1.23 `pkg/broker/ttl.go`, and `filter_handler.go`, writeResponse.
    """

    async def echoes(_: web.Request) -> web.Response:
        return web.Response(
            headers={"ce-specversion": "1.0", "ce-id": "r", "ce-source": "/one", "ce-type": "a.happened"}
        )

    stage.subscribers.behave["one"] = echoes
    await stage.subscribe("one", "a.happened")
    await stage.publish("a.happened", **{"ce-knativebrokerttl": "5"})
    await stage.drained()
    assert len(stage.subscribers.of("one")) == 4


async def test_a_slow_subscriber_delays_nobody_else(stage: Stage) -> None:
    """While one subscriber holds every call it gets, another gets all of its events."""
    held = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await held.wait()
        return web.Response(status=204)

    stage.subscribers.behave["slow"] = slow
    await stage.subscribe("slow", "a.happened")
    await stage.subscribe("quick", "a.happened")
    await asyncio.gather(*(stage.publish("a.happened", str(n)) for n in range(200)))
    quick = await stage.subscribers.until("quick", 200)
    held.set()
    await stage.drained()
    assert Counter(call["ce-id"] for call in quick) == Counter(str(n) for n in range(200))
    assert len(stage.subscribers.of("slow")) == 200


async def test_an_event_without_database_is_refused_for_now(stage: Stage) -> None:
    """503 with Retry-After when nothing can be kept: the sender keeps it."""
    await stage.subscribe("one", "a.happened")
    await stage.pool.close()
    assert await stage.publish("a.happened") == 503


async def test_the_dead_letter_sink_is_tried_like_a_subscriber_and_then_no_more(stage: Stage) -> None:
    """The same retries as the Trigger's; what the sink does not take either is gone, and a reply of it goes nowhere.

    Source: eventing 1.23 `pkg/kncloudevents/event_dispatcher.go`, send.
    """

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async def takes_one(request: web.Request) -> web.Response:
        reply = {**EVENT, "ce-type": "c.happened"}
        return web.Response(headers=reply) if request.headers["ce-id"] == "taken" else web.Response(status=503)

    stage.subscribers.behave |= {"one": broken, "letters": takes_one}
    await stage.subscribe("one", "a.happened", {**DELIVERY, "retry": 2, "deadLetterSink": LETTERS})
    await stage.subscribe("two", "c.happened")
    await stage.publish("a.happened", "taken")
    await stage.publish("a.happened", "gone")
    await stage.drained()
    assert Counter(call["ce-id"] for call in stage.subscribers.of("letters")) == {"taken": 1, "gone": 3}
    assert stage.subscribers.of("two") == []


async def test_a_dead_letter_sink_alone_means_no_retries(stage: Stage) -> None:
    """A Trigger's delivery is not merged with its Broker's, which has three (`duck/v1/delivery_types.go`)."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=503)

    stage.subscribers.behave["one"] = broken
    await stage.subscribe("one", "a.happened", {"deadLetterSink": LETTERS})
    await stage.publish("a.happened")
    await stage.subscribers.until("letters", 1)
    assert len(stage.subscribers.of("one")) == 1


async def test_the_brokers_dead_letter_sink_is_every_triggers(stage: Stage) -> None:
    """Also of a Trigger with a delivery of its own that names none."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=400)

    stage.subscribers.behave["one"] = broken
    await stage.store.delete(kinds.BROKER, "torpor", "default")
    spec = {"delivery": {**DELIVERY, "deadLetterSink": LETTERS}}
    await stage.store.create(
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Broker",
            "metadata": {"namespace": "torpor", "name": "default"},
            "spec": spec,
        }
    )
    await stage.subscribe("one", "a.happened", {"retry": 1})
    await stage.publish("a.happened")
    (letter,) = await stage.subscribers.until("letters", 1)
    assert letter["ce-knativeerrorcode"] == "400"


async def test_a_subscriber_that_answers_too_late_has_not_answered(stage: Stage) -> None:
    """`delivery.timeout` bounds each attempt; the sink is told 500 and why."""

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response(status=204)

    stage.subscribers.behave["one"] = slow
    await stage.subscribe("one", "a.happened", {"timeout": "PT0.1S", "deadLetterSink": LETTERS})
    await stage.publish("a.happened")
    (letter,) = await stage.subscribers.until("letters", 1)
    said = base64.b64decode(letter["ce-knativeerrordata"])
    assert (letter["ce-knativeerrorcode"], said) == ("500", b"no answer within 0.1 s")


async def test_an_answer_that_is_no_event_is_a_502(stage: Stage) -> None:
    """A 2xx with a body that is neither empty nor an event is tried again and then dead (`writeResponse`)."""

    async def chats(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    stage.subscribers.behave["one"] = chats
    await stage.subscribe("one", "a.happened", {**DELIVERY, "retry": 1, "deadLetterSink": LETTERS})
    await stage.publish("a.happened")
    (letter,) = await stage.subscribers.until("letters", 1)
    assert (len(stage.subscribers.of("one")), letter["ce-knativeerrorcode"]) == (2, "502")


async def test_a_retry_without_a_delay_is_immediate(stage: Stage) -> None:
    """`backoffPolicy` and `backoffDelay` count only together: an hour of delay alone is none."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    stage.subscribers.behave["one"] = broken
    await stage.subscribe("one", "a.happened", {"retry": 4, "backoffDelay": "PT1H"})
    await stage.publish("a.happened")
    await stage.drained()
    assert len(stage.subscribers.of("one")) == 5


async def test_headers_that_trace_go_on_credentials_do_not(stage: Stage) -> None:
    """From the sender to the subscriber, from its reply to the next one, and through a retry."""
    answers = iter([503, 200])

    async def replies(_: web.Request) -> web.Response:
        reply = {**EVENT, "ce-type": "b.happened", "x-request-id": "second", "set-cookie": "secret=1"}
        return web.Response(status=next(answers), headers=reply)

    stage.subscribers.behave["one"] = replies
    await stage.subscribe("one", "a.happened")
    await stage.subscribe("two", "b.happened")
    sent = {"x-request-id": "first", "traceparent": "00-1", "authorization": "Bearer secret", "cookie": "secret=1"}
    await stage.publish("a.happened", **sent)
    (second,) = await stage.subscribers.until("two", 1)
    seen = [{name.lower(): text for name, text in call.items()} for call in (*stage.subscribers.of("one"), second)]
    assert [call["x-request-id"] for call in seen] == ["first", "first", "second"]
    assert [call.get("traceparent") for call in seen] == ["00-1", "00-1", None]
    assert "secret" not in str(stage.subscribers.calls)


async def test_a_trigger_has_a_largest_number_of_deliveries_at_once(stage: Stage) -> None:
    """The rest waits in the ledger and follows as places become free."""
    held = asyncio.Event()
    most = now = 0

    async def holds(_: web.Request) -> web.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await held.wait()
        now -= 1
        return web.Response(status=204)

    stage.subscribers.behave["one"] = holds
    await stage.subscribe("one", "a.happened")
    await asyncio.gather(*(stage.publish("a.happened", str(n)) for n in range(300)))
    await stage.subscribers.until("one", AT_ONCE)
    held.set()
    await stage.drained()
    assert (most, len(stage.subscribers.of("one"))) == (AT_ONCE, 300)


async def test_a_killed_broker_delivers_after_its_restart(empty_database: str) -> None:
    """Kill -9 in the middle of deliveries: what was accepted is delivered, by the next process."""
    port = ports.free(1)[0]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.test_local_broker",
        empty_database,
        str(port),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    async with asyncio.timeout(WAIT_S):
        assert await child.stdout.readline() == b"holding 20\n"
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    subscribers = Subscribers()
    async with running(empty_database, subscribers) as stage:
        await stage.subscribe("one", "a.happened")
        calls = await subscribers.until("one", 20)
        await stage.drained()
    assert Counter(call["ce-id"] for call in calls) == Counter(str(n) for n in range(20))


async def _hold(database: str, port: int) -> None:
    """The process that is killed: it has accepted 20 events, delivered them all, and no subscriber has answered."""
    subscribers = Subscribers()

    async def holds(_: web.Request) -> web.Response:
        await asyncio.sleep(600)
        return web.Response()

    subscribers.behave["one"] = holds
    async with running(database, subscribers, port) as stage:
        await stage.subscribe("one", "a.happened")
        statuses = await asyncio.gather(*(stage.publish("a.happened", str(n)) for n in range(20)))
        assert statuses == [202] * 20
        await subscribers.until("one", 20)
        sys.stdout.write("holding 20\n")
        sys.stdout.flush()
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], int(sys.argv[2])))
