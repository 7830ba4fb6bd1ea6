"""One pull with a given traceparent through the real thing: PostgreSQL, S3, the broker, the functions, a model's server.

The laptop runtime runs with `knative/overlays/traced`, a small hub and an engine that only pretends; the spans are those
that a collector gets. One runtime for all tests here, ended before they look, so that the last spans are there as well.
"""

import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kn_model import laptop
from kn_model.demo.runtime import RunningRuntime, runtime
from kn_model.session import log_in_to_laptop
from tests.integration.laptops import overlay, until
from tests.integration.traces.collector import Collector, Received, collector
from tests.integration.traces.repository import hub_with_a_model

CALLER, ASKER = secrets.token_hex(8), secrets.token_hex(8)
PULL, QUESTION = secrets.token_hex(16), secrets.token_hex(16)


@dataclass
class Seen:
    """What is left to look at when everything has ended."""

    collector: Collector
    objects: dict[str, dict[str, Any]]
    lines: list[dict[str, Any]]
    model_uuid: str

    def only(self, service: str, name: str, trace_id: str = PULL) -> Received:
        """The one span of this name."""
        found = [span for span in self.collector.trace(trace_id) if (span.service, span.name) == (service, name)]
        assert len(found) == 1, (name, [(span.service, span.name) for span in self.collector.trace(trace_id)])
        return found[0]


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """A model pulled and served, one question asked, and the runtime ended."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torpor-")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        spans = stack.enter_context(collector())
        hub = stack.enter_context(hub_with_a_model(folder / "hub"))
        settings = {"hf-endpoint": hub, "default-runtime": "stub", "otlp-endpoint": spans.url}
        # serve knows the engine that only pretends.
        manifests = overlay(folder, {"TORPOR_RUNTIMES_DIR": "tests/runtimes"}, of="traced")
        with runtime(folder / "runtime", settings, print, manifests=manifests) as running:
            uuid = _pull(running)
            _ask(running)
            objects = {kind: _first(running, kind) for kind in ("services", "revisions")}
        yield Seen(spans, objects, _lines(folder / "runtime"), uuid)


def _pull(running: RunningRuntime) -> str:
    headers = {**_authorization(running), "traceparent": f"00-{PULL}-{CALLER}-01"}
    body = {"source": "hf://acme/model", "serve": {}}
    answer = httpx.post(f"{running.url}/models", json=body, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["uuid"])


def _authorization(running: RunningRuntime) -> dict[str, str]:
    return {"authorization": f"Bearer {log_in_to_laptop(laptop.running(running.folder)).token}"}


def _ask(running: RunningRuntime) -> None:
    """One question, as soon as the model answers."""
    headers = _authorization(running)
    body = {"model": "model", "messages": [{"role": "user", "content": "Hello"}]}
    url = f"{running.url}/m/model/v1/chat/completions"
    until(
        lambda: httpx.post(url, json=body, headers=headers, timeout=60).status_code == 200,
        lambda: "the model does not answer",
        every_s=0.5,
    )
    traced = {**headers, "traceparent": f"00-{QUESTION}-{ASKER}-01"}
    assert httpx.post(url, json=body, headers=traced, timeout=60).status_code == 200


def _first(running: RunningRuntime, plural: str) -> dict[str, Any]:
    """The object of the model, as the Kubernetes API has it."""
    access = laptop.cluster(running.kubeconfig)
    url = f"{access.server}/apis/serving.knative.dev/v1/namespaces/{laptop.NAMESPACE}/{plural}"
    query = {"labelSelector": "torpor.dev/model"}
    answer = httpx.get(url, params=query, headers=access.headers, verify=access.verify, trust_env=False)
    (found,) = answer.raise_for_status().json()["items"]
    assert isinstance(found, dict)
    return found


def _lines(folder: Path) -> list[dict[str, Any]]:
    """What all functions and engines logged."""
    files = sorted((folder / "logs").glob("*/*.log"))
    lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


PULL_STEPS = [
    ("download", "POST /models"),
    ("download", "process dev.torpor.model.requested.v1"),
    ("download", "process dev.torpor.file.requested.v1"),
    ("serve", "process dev.torpor.model.available.v1"),
    ("serve", "process dev.torpor.server.requested.v1"),
    ("engine", "start engine"),
]


def test_one_trace_leads_from_the_call_to_the_engine(seen: Seen) -> None:
    """Each step's span is a child of the one before it: call, outbox, broker, handlers, Kubernetes object, engine."""
    known = {span.span_id: span for span in seen.collector.trace(PULL)}
    span = seen.only("engine", "start engine")
    way = [span]
    while span.parent_id in known:
        span = known[span.parent_id]
        way.append(span)
    assert (CALLER, PULL_STEPS) == (span.parent_id, [(each.service, each.name) for each in reversed(way)])


def test_the_kubernetes_objects_say_the_trace(seen: Seen) -> None:
    """The Service and its one revision name the span that made them."""
    made_by = seen.only("serve", "process dev.torpor.server.requested.v1")
    expected = f"00-{PULL}-{made_by.span_id}-01"
    found = {kind: obj["metadata"]["annotations"]["torpor.dev/traceparent"] for kind, obj in seen.objects.items()}
    assert {"services": expected, "revisions": expected} == found


def test_news_of_the_objects_join_the_trace(seen: Seen) -> None:
    """What the ApiServerSource says of them is handled under the span that made them."""
    made_by = seen.only("serve", "process dev.torpor.server.requested.v1")
    news = [span for span in seen.collector.trace(PULL) if span.name.startswith("process dev.knative.apiserver")]
    assert news
    assert {("serve", made_by.span_id)} == {(span.service, span.parent_id) for span in news}


def test_every_parent_is_a_span_that_was_sent(seen: Seen) -> None:
    """Nothing is lost on the way to the collector, though every process was ended."""
    trace = seen.collector.trace(PULL)
    assert {span.parent_id for span in trace} - {span.span_id for span in trace} == {CALLER}


def test_a_question_is_a_span_of_the_askers_trace(seen: Seen) -> None:
    """The engine's span is a child of the caller's, with what was used."""
    span = seen.only("engine", "POST /v1/chat/completions", QUESTION)
    assert (ASKER, "200") == (span.parent_id, span.attributes["http.response.status_code"])
    assert int(span.attributes["gen_ai.usage.output_tokens"]) > 0


def test_log_lines_name_request_event_model_and_trace(seen: Seen) -> None:
    """From a line of any part one gets to the others."""
    pulled = [line for line in seen.lines if line.get("trace_id") == PULL]
    asked = [line for line in seen.lines if line.get("trace_id") == QUESTION]
    events = [line for line in pulled if "event_id" in line]
    assert {"torpor.http", "torpor.engine"} <= {line["logger"] for line in pulled}
    assert all("request_id" in line for line in events)
    assert {seen.model_uuid} == {line["model_uuid"] for line in events if "model_uuid" in line}
    assert [seen.model_uuid] == [line["model_uuid"] for line in asked]
