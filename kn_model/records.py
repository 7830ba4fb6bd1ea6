"""The JSON that Torpor's HTTP API answers with, as far as the commands read it. Fields as in the functions' views."""

from typing import Any, NotRequired, TypedDict


class FileRecord(TypedDict):
    """One file of a model: bytes, bytes per second, seconds left."""

    path: str
    size: int | None
    sha256: str | None
    status: str
    bytes_done: int
    rate_bps: float
    eta_s: float | None
    error: str | None


class ServerRecord(TypedDict):
    """A server: one Knative Service that serves a model."""

    uuid: str
    name: str
    model_uuid: str
    model_name: str
    namespace: str
    status: str
    revision: str | None
    endpoint: str | None
    gateway_url: str | None
    error: str | None
    replicas: int | None
    memory_max_mb: int
    params: Any
    created_at: str


class ResultRecord(TypedDict):
    """What became of one prompt."""

    passed: bool
    reason: str
    answer: str
    latency_ms: int


class CandidateRecord(TypedDict):
    """A candidate of an evaluation; score is null for one that was dropped, and why says so."""

    candidate: str
    model_uuid: str | None
    model_name: str | None
    status: str
    why: str
    server: str | None
    score: float | None
    latency_ms: int | None
    results: list[ResultRecord]


class EvaluationRecord(TypedDict):
    """Models that were asked the same prompts; candidates is null in lists."""

    id: str
    alias: str
    status: str
    why: str
    prompts: int
    winner: str | None
    winner_score: float | None
    candidates: list[CandidateRecord] | None


class PhasesRecord(TypedDict):
    """Milliseconds of a cold start, one phase after the other; null where nobody knows."""

    schedule_ms: int | None
    fetch_ms: int | None
    load_ms: int | None
    ready_ms: int | None


class ColdStartsRecord(TypedDict):
    """The cold starts of one revision."""

    revision: str
    starts: int
    last_at: str
    last: PhasesRecord
    median: PhasesRecord


class MeasuredRecord(TypedDict):
    """What one revision answered."""

    requests: int
    errors: int
    ttft_p95_ms: int | None


class MeasuresRecord(TypedDict):
    """Both revisions of a rollout side by side."""

    candidate: MeasuredRecord
    stable: MeasuredRecord


class RolloutRecord(TypedDict):
    """A rollout: one model of a server on its way to all of the traffic."""

    uuid: str
    status: str
    strategy: str
    model_name: str
    previous_model_name: str
    candidate_revision: str | None
    percent: int
    step: int
    steps: list[int]
    why: str
    measures: MeasuresRecord | None
    created_at: str
    finished_at: str | None
    error: str | None


class ServerDetailRecord(ServerRecord):
    """A server with the cold starts of its revisions, its rollout and those that have ended."""

    rollout: RolloutRecord | None
    rollouts: list[RolloutRecord]
    cold_starts: list[ColdStartsRecord]


class StorageRecord(TypedDict):
    """Bytes of a model: what other models have too, and what is its own."""

    shared_bytes: int
    unique_bytes: int


class SignatureRecord(TypedDict):
    """What was found about a model's signature: verified, absent or invalid."""

    outcome: str
    key: str | None
    detail: str | None


class ModelRecord(TypedDict):
    """A model: what was asked for, how far its download is, what serves it. `files` and `storage` are null in lists."""

    uuid: str
    name: str
    source: str
    revision: str | None
    status: str
    error: str | None
    error_code: str | None
    bytes_done: int
    bytes_total: int | None
    rate_bps: float
    eta_s: float | None
    created_at: str
    server: ServerRecord | None
    files: list[FileRecord] | None
    storage: NotRequired[StorageRecord | None]
    signature: NotRequired[SignatureRecord | None]


class InferenceRecord(TypedDict):
    """A request for asynchronous inference. `result` is there once it is completed, unless it is large."""

    id: str
    server: str
    model: str
    path: str
    status: str
    attempts: int
    error: str | None
    http_status: int | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    deadline_at: str
    result_url: NotRequired[str | None]
    result: NotRequired[Any]


class DeadLetterRecord(TypedDict):
    """An event that nobody could take, and why. `data` and `data_base64` are null in lists, else one of them is not."""

    id: int
    source: str
    event_id: str
    type: str
    subject: str | None
    extensions: dict[str, str]
    content_type: str
    error_dest: str
    error_code: int | None
    error_data: str | None
    received_at: str
    redriven_at: str | None
    redriven_by: str | None
    redrives: int
    data: str | None
    data_base64: str | None
