"""Rollouts: from `model.available` to a Knative Service, and from a candidate's breach to 0 % of the traffic.

    python -m tests.bench.rollout

One laptop runtime with engines that only pretend: about three minutes. Prints the table of docs/rollout.md.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx

from functions.kit import events, signature
from functions.kit.events import CloudEvent, ModelAvailable
from functions.kit.settings import Keys, Secret
from functions.kit.signature import Keyring
from kn_model import laptop
from tests.bench.report import Row, markdown
from tests.integration.serve.rolling_laptop import Rolling, rolling

# The first ones warm functions, connections and caches.
WARM_UP: Final = 10
MODELS: Final = 100
ROLLBACKS: Final = 5
AIM_MS: Final = 100
AIM_S: Final = 10
_LOOK_S: Final = 0.01
_PAUSE_S: Final = 0.5


def rows() -> list[Row]:
    """Both figures, on one runtime."""
    with rolling(tick=None) as tiny:
        return [_rollback(tiny), _created(tiny)]


def _rollback(tiny: Rolling) -> Row:
    taken = []
    for _ in range(ROLLBACKS):
        with tiny.called():
            tiny.answers.clear()
            tiny.roll("failing", steps=[50], min_requests=1000, max_error_rate=0, max_ttft_ratio=100)
            tiny.until(lambda: len(tiny.traffic()) == 2, "the candidate has traffic", _LOOK_S)
            candidate = tiny.service()["status"]["latestReadyRevisionName"]
            tiny.until(lambda gone=candidate: gone not in tiny.traffic(), "the traffic is back", _LOOK_S)  # type: ignore[misc]  # the name of this round
            back = time.monotonic()
        # Two errors are a breach; all of them are the candidate's.
        taken.append(back - sorted(answer.at for answer in tiny.answers if answer.status >= 500)[1])
        tiny.until_ended("failing")
        tiny.until_latest()
    figures = f"median {sorted(taken)[len(taken) // 2]:.2f} s, max {max(taken):.2f} s of {len(taken)}"
    return Row(
        "rollback, from breach to 0 %", figures, "-", f"{max(taken):.2f} s", f"<= {AIM_S} s", max(taken) <= AIM_S
    )


def _created(tiny: Rolling) -> Row:
    keyring = Keyring(Keys((Secret(tiny.secrets["torpor-events"]["functions"].split(",")[0]),)))
    broker = f"{tiny.client.url}/_svc/knative-eventing/broker-ingress/torpor/default"
    taken: list[float] = []
    with _created_services(tiny) as seen, httpx.Client(timeout=30, trust_env=False) as http:
        for number in range(WARM_UP + MODELS):
            name = f"n{number}"
            uuid = asyncio.run(_available(tiny, name))
            headers, data = _event(keyring, uuid, name)
            began = time.monotonic()
            http.post(broker, headers=headers, content=data).raise_for_status()
            _until(lambda made=name: made in seen)
            taken.append(seen[name] - began)
            # No engine was started: the figure is of the control plane. The news of this Service is old by the next one.
            time.sleep(_PAUSE_S)
    measured = sorted(1000 * seconds for seconds in taken[WARM_UP:])
    p50, p99 = measured[len(measured) // 2], measured[int(len(measured) * 0.99)]
    figures = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(measured)}"
    return Row(
        "model.available to Knative Service created", figures, "-", f"{p99:.0f} ms", f"<= {AIM_MS} ms", p99 <= AIM_MS
    )


def _event(keyring: Keyring, uuid: str, name: str) -> tuple[dict[str, str], bytes]:
    """`model.available` as download sends it."""
    data = json.dumps({"model_uuid": uuid, "model_name": name}).encode()
    event = CloudEvent(uuid4().hex, "/torpor/download", ModelAvailable.TYPE, uuid, {"actor": "admin"}, data)
    extensions = {**event.extensions, signature.NAME: keyring.sign(event)}
    return events.headers(event.id, event.source, event.type, event.subject, extensions), data


async def _available(tiny: Rolling, name: str) -> str:
    """A model's record as download leaves it, with the wish to be served."""
    uuid = str(uuid4())
    connection = await asyncpg.connect(tiny.secrets["torpor-postgres"]["url"])
    try:
        await connection.execute(
            "INSERT INTO model_records (uuid, model_name, source, status, model_metadata, serve, actor, downloaded_at) "
            "SELECT $1, $2, source, 'available', model_metadata, $3, actor, now() FROM model_records "
            "WHERE model_name = 'good' LIMIT 1",
            uuid,
            name,
            '{"runtime": "idle-stub"}',
        )
    finally:
        await connection.close()
    return uuid


@contextmanager
def _created_services(tiny: Rolling) -> Iterator[dict[str, float]]:
    """Knative Service -> when the API told of it (time.monotonic), from a watch."""
    access = laptop.cluster(tiny.runtime.kubeconfig)
    url = f"{access.server}/apis/serving.knative.dev/v1/namespaces/{laptop.NAMESPACE}/services"
    seen: dict[str, float] = {}
    client = httpx.Client(headers=access.headers, verify=access.verify, timeout=None, trust_env=False)  # noqa: S113  # a watch
    version = client.get(url).json()["metadata"]["resourceVersion"]

    def follow() -> None:
        asked: Any = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "600"}
        # The runtime is stopped while it watches.
        with suppress(httpx.HTTPError), client.stream("GET", url, params=asked) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ADDED":
                    seen[event["object"]["metadata"]["name"]] = time.monotonic()

    threading.Thread(target=follow, daemon=True).start()
    yield seen


def _until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


if __name__ == "__main__":
    sys.stdout.write(f"\n{markdown(rows())}\n")
