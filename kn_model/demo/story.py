"""The steps of the main job against a Torpor that runs: pull, serve by event, ask, sleep, wake. Each raises Failure.

Used by `python -m kn_model.demo.smoke`, which the demo runs too, and by the acceptance tests, which check more around
the same steps.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kn_model import conversation
from kn_model.client import Client
from kn_model.failure import Exit, Failure
from kn_model.follow import follow_model, follow_server, server_of
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.output import say, size
from kn_model.progress import display
from kn_model.records import ModelRecord, RolloutRecord, ServerRecord
from kn_model.waiting import announced

QUESTION: Final = "What is the capital of France?"
EXPECTED: Final = "Paris"
# The least that Knative accepts: the demo wants to see it sleep soon.
SCALE: Final = {"min": 0, "window_s": 6, "retention_s": 0}
# Long enough for the question, short enough to need little memory.
PARAMS: Final = {"max_model_len": 2048}
# The model's window and a cluster's grace of half a minute; on one machine also the functions', between two ticks of the
# minute that wake them.
_ASLEEP_WITHIN_S: Final = 240.0
# An engine sends a batch every few seconds; status may have to wake for it.
_COUNTED_WITHIN_S: Final = 90.0
_POLL_S: Final = 0.25
_MAX_TOKENS: Final = 32
_ANSWER_WITHIN_S: Final = 300.0
# Something else to run, seen in half of the calls for as long as nobody decides. It stays awake for a minute: on a busy
# machine it would be asleep again before it is asked the first time.
CANDIDATE: Final = {
    "params": {"max_model_len": 1024},
    "scale": {"window_s": 60},
    "rollout": {"steps": [50, 100], "hold_s": 3600},
}
# A second engine starts beside the first, and is asked something.
_ON_TRIAL_WITHIN_S: Final = 600.0
# One patch of the Knative Service, and a tick if its event was lost.
_BACK_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and after how many seconds the first piece of it came."""

    text: str
    first_s: float


def pull(client: Client, source: str = f"hf://{REPOSITORY}", **options: Any) -> ModelRecord:
    """Ask for the model, to be served when it is there, and follow the download until everything is verified."""
    serve = {"scale": SCALE, "params": PARAMS}
    model: ModelRecord = client.post("/models", {"source": source, "serve": serve, **options})
    with display() as shown:
        return follow_model(client, model["uuid"], shown.update)


def rollout(client: Client, model: ModelRecord) -> ServerRecord:
    """Wait for the server that the event `model.available` has brought, until it is ready."""
    with announced("the engine is starting", say):
        server = server_of(client, model["uuid"])
        return follow_server(client, server["uuid"], lambda seen: say(f"{seen['name']}: {seen['status']}"))


def ask(client: Client, server: str, question: str = QUESTION, *, expected: str = EXPECTED) -> Answer:
    """Ask over the OpenAI API, at temperature 0. Raises Failure when `expected` is not in the answer."""
    messages: list[conversation.Message] = [{"role": "user", "content": question}]
    body = conversation.body(server, messages, max_tokens=_MAX_TOKENS, temperature=0.0)
    started, first_s, text = time.monotonic(), 0.0, ""
    for piece in conversation.answer(client, body, timeout_s=_ANSWER_WITHIN_S, say=say):
        first_s = first_s or time.monotonic() - started
        text += piece
    if expected not in text:
        raise Failure(f"the answer does not contain {expected!r}", why=f"It was: {text!r}")
    return Answer(text.strip(), first_s)


def put_on_trial(client: Client, server: str, within_s: float = _ON_TRIAL_WITHIN_S) -> RolloutRecord:
    """Change the server so that a candidate gets half of its traffic, and stays there. Raises Failure."""
    client.patch(f"/serve/{server}", CANDIDATE)
    wait_until(lambda: _rollout(client, server)["status"] != "candidate", within_s, lambda: _why(client, server))
    wait_until(lambda: _rollout(client, server)["percent"] > 0, within_s, lambda: _why(client, server))
    return _rollout(client, server)


def roll_back(client: Client, server: str, traffic: Callable[[], Mapping[str, int]], rollout: RolloutRecord) -> float:
    """Decide against the candidate; answers the seconds until no call went to it. Raises Failure.

    traffic: what the cluster says, revision by revision.
    """
    started = time.monotonic()
    client.post(f"/serve/{server}/rollback", {})
    candidate = str(rollout["candidate_revision"])
    wait_until(lambda: candidate not in traffic(), _BACK_WITHIN_S, lambda: f"The traffic: {traffic()}")
    seconds = time.monotonic() - started
    wait_until(
        lambda: _rollout(client, server)["status"] == "rolled_back", _BACK_WITHIN_S, lambda: _why(client, server)
    )
    return seconds


def _rollout(client: Client, server: str) -> RolloutRecord:
    """The one under way, else the latest. Raises Failure where one has failed."""
    found = client.get(f"/status/{server}")
    rollout: RolloutRecord = found["rollout"] or found["rollouts"][0]
    if rollout["status"] in {"failed", "superseded", "promoted"}:
        raise Failure(f"the rollout is {rollout['status']}", why=rollout["error"] or rollout["why"])
    return rollout


def _why(client: Client, server: str) -> str:
    rollout = _rollout(client, server)
    return f"The rollout is {rollout['status']}: {rollout['why']}"


class Place(Protocol):
    """Where a server runs."""

    def awake(self, server: str) -> str:
        """What of it is awake, for a message; empty when it sleeps."""


def fall_asleep(place: Place, server: str, within_s: float = _ASLEEP_WITHIN_S) -> float:
    """Wait until nothing of the server is awake; answers the seconds it took. Raises Failure."""
    started = time.monotonic()
    with announced("waiting for everything to scale to zero", say):
        wait_until(lambda: not place.awake(server), within_s, lambda: f"Still there: {place.awake(server)}")
    return time.monotonic() - started


def tokens(client: Client) -> int:
    """All tokens that are counted so far, in and out."""
    return sum(row["prompt_tokens"] + row["completion_tokens"] for row in client.items("/usage", "usage"))


def counted(client: Client, before: int, within_s: float = _COUNTED_WITHIN_S) -> int:
    """Wait until more tokens are counted than `before`; answers how many more. Raises Failure."""
    wait_until(lambda: tokens(client) > before, within_s, lambda: f"/usage still says {before} tokens")
    return tokens(client) - before


def wait_until(holds: Callable[[], bool], within_s: float, state: Callable[[], str]) -> None:
    """Look again and again until `holds`; after `within_s` seconds raises Failure with `state`."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise Failure(f"it has not happened within {within_s:.0f} s", why=state(), code=Exit.TIMED_OUT)
        time.sleep(_POLL_S)


def fetched(model: ModelRecord) -> str:
    """What was fetched, in a few words."""
    files = model["files"] or []
    return f"{size(model['bytes_done'])} in {len(files)} files, every sha256 verified"
