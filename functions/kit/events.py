"""The events of Torpor: what has happened, as frozen dataclasses in the past tense, and strict CloudEvents 1.0 parsing.

Each class names its `TYPE` and the record that is its `subject`. Data fields are what the receiver needs to find the
rows: events carry pointers, never data. JSON Schemas under `eventing/types/` are generated from these classes. The file
is long because every event is a short class beside the others.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import msgspec

from functions.kit.attributes import check, escape, unescape
from functions.kit.problem import Reject, TooLarge

# Knative's PingSource sends this type whatever its manifest says.
TICK: Final = "dev.knative.sources.ping"
# The ApiServerSource in `mode: Resource` sends these three.
RESOURCE_CHANGES: Final = tuple(f"dev.knative.apiserver.resource.{change}" for change in ("add", "update", "delete"))
# And in `mode: Reference` these: a name and no object, for resources that carry a credential.
REFERENCE_CHANGES: Final = tuple(f"dev.knative.apiserver.ref.{change}" for change in ("add", "update", "delete"))
# Larger ones do not pass every broker (Kafka: 1 MiB with headers) and are a sign of data in an event.
MAX_EVENT_BYTES: Final = 1_048_576

# CloudEvents 1.0, section 3.1: an Integer has 32 bits.
_INTEGERS: Final = range(-(2**31), 2**31)

_REQUIRED: Final = ("id", "source", "type", "specversion")
_PASSING: Final = ("datacontenttype", "time", "dataschema")
_STANDARD: Final = frozenset({*_REQUIRED, "subject", *_PASSING})

E_ = TypeVar("E_", bound="Event")
# Named, because inside CloudEvent the word `type` is an attribute.
EventClass: TypeAlias = type[E_]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events: the wire type and which field is the subject."""

    TYPE: ClassVar[str] = ""

    @property
    def subject(self) -> str:
        """The uuid of the record that the event is about: the first field."""
        return str(getattr(self, dataclasses.fields(self)[0].name))


@dataclass(frozen=True, slots=True)
class ModelRequested(Event):
    """Somebody asked for a model: plan its download."""

    TYPE: ClassVar[str] = "dev.torpor.model.requested.v1"
    model_uuid: str


@dataclass(frozen=True, slots=True)
class FileRequested(Event):
    """One slice of one file is to be transferred; slice_number makes each slice's event distinct.

    helper: 0 for the worker that leads the file's transfer, and counted from 1 for those that only help with it.
    """

    TYPE: ClassVar[str] = "dev.torpor.file.requested.v1"
    model_uuid: str
    path: str
    slice_number: int
    helper: int = 0


@dataclass(frozen=True, slots=True)
class ModelAvailable(Event):
    """Every file of the model is verified and its manifest is written."""

    TYPE: ClassVar[str] = "dev.torpor.model.available.v1"
    model_uuid: str
    model_name: str


@dataclass(frozen=True, slots=True)
class ModelFailed(Event):
    """The model cannot be fetched or verified; reason is for people."""

    TYPE: ClassVar[str] = "dev.torpor.model.failed.v1"
    model_uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelDeleted(Event):
    """The model's record, objects and uploads are gone."""

    TYPE: ClassVar[str] = "dev.torpor.model.deleted.v1"
    model_uuid: str


@dataclass(frozen=True, slots=True)
class ServerRequested(Event):
    """A server record was created, changed or marked for deletion: make the cluster agree with it."""

    TYPE: ClassVar[str] = "dev.torpor.server.requested.v1"
    server_uuid: str


@dataclass(frozen=True, slots=True)
class RolloutAdvanced(Event):
    """A server's candidate revision has proved itself so far and now gets this part of the traffic."""

    TYPE: ClassVar[str] = "dev.torpor.rollout.advanced.v1"
    rollout_uuid: str
    server_uuid: str
    percent: int


@dataclass(frozen=True, slots=True)
class RolloutPromoted(Event):
    """A candidate revision has all of the traffic: it is what the server serves."""

    TYPE: ClassVar[str] = "dev.torpor.rollout.promoted.v1"
    rollout_uuid: str
    server_uuid: str


@dataclass(frozen=True, slots=True)
class RolloutRolledBack(Event):
    """A candidate revision is out, and all traffic is where it was before; reason is for people."""

    TYPE: ClassVar[str] = "dev.torpor.rollout.rolledback.v1"
    rollout_uuid: str
    server_uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutMeasured(Event):
    """New usage of a server is stored whose rollout is under way: look at its gates."""

    TYPE: ClassVar[str] = "dev.torpor.rollout.measured.v1"
    rollout_uuid: str


@dataclass(frozen=True, slots=True)
class EvaluationRequested(Event):
    """An evaluation may be able to get on: look at it."""

    TYPE: ClassVar[str] = "dev.torpor.evaluation.requested.v1"
    evaluation_uuid: str


@dataclass(frozen=True, slots=True)
class ModelSelected(Event):
    """An evaluation has a winner: the server named alias goes over to this model."""

    TYPE: ClassVar[str] = "dev.torpor.model.selected.v1"
    evaluation_uuid: str
    alias: str
    model_uuid: str


@dataclass(frozen=True, slots=True)
class EngineStarted(Event):
    """An engine takes calls. When its process began, and milliseconds from then until each step was done.

    fetched: every byte of the model is here and verified. loaded: the weights are in the engine. ready: it takes calls.
    None for a step that an engine does not have, such as the stub's.
    """

    TYPE: ClassVar[str] = "dev.torpor.engine.started.v1"
    server: str
    revision: str
    began_at: str
    fetched_ms: int | None
    loaded_ms: int | None
    ready_ms: int


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one request used. Times are RFC 3339 and milliseconds; tokens as the engine counted them.

    revision: which one answered; empty from an engine that does not know. first_token_ms: from the request to the first
    bytes of a stream; None for an answer that is no stream. status: 499 where the caller left, 5xx where the engine failed.
    """

    request_id: str
    subject: str
    key_id: str | None
    model_name: str
    prompt_tokens: int
    completion_tokens: int
    started_at: str
    duration_ms: int
    status: int
    streamed: bool
    revision: str = ""
    first_token_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UsageRecorded(Event):
    """A batch of usage records from one instance of a server's engine, and what that one uses itself.

    memory_mb: of 2^20 bytes. cpu_percent: of one core, since the last batch. None where the engine cannot tell.
    """

    TYPE: ClassVar[str] = "dev.torpor.usage.recorded.v1"
    server: str
    records: list[UsageRecord]
    memory_mb: int | None = None
    cpu_percent: float | None = None


@dataclass(frozen=True, slots=True)
class InferenceRequested(Event):
    """There is a place for a request for asynchronous inference: ask its model."""

    TYPE: ClassVar[str] = "dev.torpor.inference.requested.v1"
    inference_uuid: str


@dataclass(frozen=True, slots=True)
class InferenceCompleted(Event):
    """A request for asynchronous inference has its answer."""

    TYPE: ClassVar[str] = "dev.torpor.inference.completed.v1"
    inference_uuid: str
    server_uuid: str


@dataclass(frozen=True, slots=True)
class InferenceFailed(Event):
    """A request for asynchronous inference ended without an answer: failed, expired or cancelled; reason is for people."""

    TYPE: ClassVar[str] = "dev.torpor.inference.failed.v1"
    inference_uuid: str
    server_uuid: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class WebhookRequested(Event):
    """A request for asynchronous inference is over, and whoever asked wants to be told at an address of theirs."""

    TYPE: ClassVar[str] = "dev.torpor.webhook.requested.v1"
    inference_uuid: str


ALL: Final[tuple[type[Event], ...]] = (
    ModelRequested,
    FileRequested,
    ModelAvailable,
    ModelFailed,
    ModelDeleted,
    ServerRequested,
    UsageRecorded,
    EngineStarted,
    EvaluationRequested,
    ModelSelected,
    RolloutAdvanced,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutMeasured,
    InferenceRequested,
    InferenceCompleted,
    InferenceFailed,
    WebhookRequested,
)


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A received event: context attributes and the data's bytes. `(source, id)` is its idempotency key.

    passing: attributes that nobody here acts on and a dead letter keeps: datacontenttype, time, dataschema.
    """

    id: str
    source: str
    type: str
    subject: str
    extensions: Mapping[str, str]
    data: bytes
    passing: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def actor(self) -> str:
        """Who asked for what led to this event; empty when nobody in particular did."""
        return self.extensions.get("actor", "")

    @property
    def traceparent(self) -> str:
        """The W3C trace context that the event carries, or an empty string."""
        return self.extensions.get("traceparent", "")

    def decode(self, kind: EventClass[E_]) -> E_:
        """The data as `kind`. Raises Reject when it does not fit: sending it again cannot help."""
        return decode(self.data, kind)


def decode(data: bytes, kind: type[E_]) -> E_:
    """Decode JSON `data` into an event class; unknown fields are left alone, for newer senders."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Reject(f"the data of a {kind.TYPE} does not fit: {error}") from error


def headers(event_id: str, source: str, kind: str, subject: str, extensions: Mapping[str, str]) -> dict[str, str]:
    """The HTTP headers of an event in binary mode (CloudEvents HTTP binding 1.0, section 3.1).

    A `datacontenttype` among the extensions is the Content-Type; without one the data is JSON. A subject that is not
    there is left out: an empty one is no subject (CloudEvents 1.0, section 3.2), and a broker may refuse it.
    """
    attributes = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": kind,
        **({"subject": subject} if subject else {}),
        **extensions,
    }
    content_type = attributes.pop("datacontenttype", "application/json")
    return {"content-type": content_type} | {f"ce-{name}": escape(str(text)) for name, text in attributes.items()}


def parse(http_headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Read one event in binary or structured mode.

    Raises Reject for whatever is not a well-formed event: a missing id must not be invented, since it is half of the
    idempotency key (the SDK would make one up). Raises TooLarge past MAX_EVENT_BYTES.
    """
    if len(body) > MAX_EVENT_BYTES:
        raise TooLarge(f"an event may have {MAX_EVENT_BYTES} bytes; put the data in the bucket and send a pointer")
    lower = {name.lower(): value for name, value in http_headers.items()}
    if len(lower) < len(http_headers.items()) and any(name.startswith("ce-") for name in _twice(http_headers)):
        raise Reject("an attribute is there twice; which one is meant cannot be known")
    media_type = lower.get("content-type", "").split(";")[0].strip().lower()
    if media_type == "application/cloudevents+json":
        return _event(*_structured(body))
    if media_type.startswith("application/cloudevents"):
        raise Reject(f"events of media type {media_type} are not taken; send one event at a time as JSON")
    attributes = {name[3:]: unescape(value) for name, value in lower.items() if name.startswith("ce-")}
    if "content-type" in lower:
        attributes["datacontenttype"] = lower["content-type"]
    return _event(attributes, body)


def _event(attributes: Mapping[str, str], data: bytes) -> CloudEvent:
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        raise Reject(f"not a CloudEvent: the attribute {missing[0]} is missing or empty")
    if attributes["specversion"] != "1.0":
        raise Reject(f"specversion {attributes['specversion']!r} is not supported; send 1.0")
    for name, text in attributes.items():
        check(name, text)
    extensions = {name: value for name, value in attributes.items() if name not in _STANDARD}
    passing = {name: attributes[name] for name in _PASSING if name in attributes}
    named = (attributes["id"], attributes["source"], attributes["type"], attributes.get("subject", ""))
    return CloudEvent(*named, extensions, data, passing)


def _twice(http_headers: Mapping[str, str]) -> set[str]:
    names = [name.lower() for name, _ in http_headers.items()]
    return {name for name in names if names.count(name) > 1}


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
        json.loads(body, object_pairs_hook=_once)
        data = _structured_data(document)
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError, OverflowError) as error:
        raise Reject(f"the structured event is not valid JSON: {error}") from error
    attributes = {
        name: value for name, value in document.items() if name not in {"data", "data_base64"} and value is not None
    }
    if "data" in document:
        attributes.setdefault("datacontenttype", "application/json")
    wrong = [name for name, value in attributes.items() if not _has_a_type(value)]
    if wrong:
        raise Reject(f"the attribute {wrong[0][:64]!r} is neither a string, an integer of 32 bits nor a boolean")
    return {name: _canonical(value) for name, value in attributes.items()}, data


def _once(members: list[tuple[str, Any]]) -> None:
    """RFC 8259, section 4, leaves open which of two members of one name counts: two readers could differ."""
    if len({name for name, _ in members}) < len(members):
        raise ValueError("a member is there twice")


def _has_a_type(value: object) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int) and value in _INTEGERS)


def _structured_data(document: Mapping[str, Any]) -> bytes:
    if "data_base64" in document:
        import base64

        if "data" in document:
            raise ValueError("data and data_base64 are both there")

        return base64.b64decode(document["data_base64"], validate=True)
    return msgspec.json.encode(document["data"]) if "data" in document else b""


def _canonical(value: str | int | bool) -> str:  # noqa: FBT001  # a CloudEvents attribute value
    return str(value).lower() if isinstance(value, bool) else str(value)
