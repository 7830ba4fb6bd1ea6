"""The settings of `download`; read once by `main.py`."""

from dataclasses import dataclass

from functions.download.layout import STRETCH_PARTS
from functions.download.signatures import Policy as SignaturePolicy
from functions.kit.platform import Bucket, Platform
from functions.kit.settings import Secret, SettingsError, setting

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(Platform, Bucket):
    """Where things are, and how much of time and memory one transfer may take."""

    hf_endpoint: str = setting(
        "https://huggingface.co",
        env="TORPOR_HF_ENDPOINT",
        why="the hub behind hf:// sources; the operator's choice, so its host is trusted even on a private address",
    )
    hf_token: Secret = setting(
        Secret(""), env="TORPOR_HF_TOKEN", why="opens gated and private repositories; goes to the hub's own host alone"
    )
    allowed_source_hosts: tuple[str, ...] = setting(
        (),
        env="TORPOR_ALLOWED_SOURCE_HOSTS",
        why="hosts that https:// sources may name although they have private addresses, and over plain http too",
    )
    allowed_source_folders: tuple[str, ...] = setting(
        (),
        env="TORPOR_ALLOWED_SOURCE_FOLDERS",
        why="folders that file:// sources may name; empty refuses them: a pod's files are nobody's models",
    )
    allowed_source_buckets: tuple[str, ...] = setting(
        (),
        env="TORPOR_ALLOWED_SOURCE_BUCKETS",
        why="buckets that s3:// sources may name; empty refuses them: the keys may read more than whoever asks should",
    )
    s3_source_endpoint: str = setting(
        "",
        env="TORPOR_S3_SOURCE_ENDPOINT",
        why="the S3 of s3:// sources; empty means the one that keeps the models, which then copies without us",
    )
    s3_source_access_key: Secret = setting(
        Secret(""), env="TORPOR_S3_SOURCE_ACCESS_KEY", why="may read at that endpoint; unused without one"
    )
    s3_source_secret_key: Secret = setting(
        Secret(""), env="TORPOR_S3_SOURCE_SECRET_KEY", why="belongs to that access key"
    )
    s3_source_region: str = setting("us-east-1", env="TORPOR_S3_SOURCE_REGION", why="the region of that endpoint")
    mlflow_url: str = setting(
        "",
        env="TORPOR_MLFLOW_URL",
        why="the MLflow server behind mlflow:// sources; empty refuses them. Like the hub, its host is trusted",
    )
    mlflow_token: Secret = setting(
        Secret(""), env="TORPOR_MLFLOW_TOKEN", why="sent to that server as a bearer token, and nowhere else"
    )
    mlflow_artifacts: str = setting(
        "",
        env="TORPOR_MLFLOW_ARTIFACTS",
        why="the s3:// address that a server which hands out artifacts itself keeps them at (its --artifacts-destination)",
    )
    store_quota_bytes: int = setting(
        0,
        env="TORPOR_STORE_QUOTA_BYTES",
        unit="bytes",
        why="what all models together may take, each content once; 0 is no limit. A plan that goes past it is refused",
    )
    store_status_url: str = setting(
        "",
        env="TORPOR_STORE_STATUS_URL",
        why="the status page of SeaweedFS's volume server, which says what is free; empty: S3 itself has no word for it",
    )
    blob_grace_s: float = setting(
        3600.0,
        env="TORPOR_BLOB_GRACE_SECONDS",
        unit="s",
        why="how long content stays after the last model that has it was deleted: pulled again meanwhile, it costs nothing",
    )
    signature_policy: SignaturePolicy = setting(
        SignaturePolicy.NONE,
        env="TORPOR_SIGNATURE_POLICY",
        why="none: model signatures are not looked at; if-present: one that is there has to hold; required: no model without",
    )
    signature_keys: str = setting(
        "",
        env="TORPOR_SIGNATURE_KEYS",
        why="public keys of who may sign models, PEM, one after the other: EC P-256, P-384, P-521 or Ed25519",
    )
    slice_s: float = setting(
        20.0,
        env="TORPOR_SLICE_SECONDS",
        unit="s",
        why="work of one slice before the next event takes over: far inside the 300 s that Knative allows, long enough "
        "that starting one costs little",
    )
    part_bytes: int = setting(
        8 * MIB,
        env="TORPOR_PART_BYTES",
        unit="bytes",
        why="smallest multipart part; S3 wants 5 MiB at least, and at 50 MB/s per connection 8 MiB take 0.2 s",
    )
    parts_in_flight: int = setting(
        8,
        env="TORPOR_PARTS_IN_FLIGHT",
        unit="parts",
        why="ranges of one file that are fetched side by side: content hosts give a connection about 50 MB/s",
    )
    workers_per_file: int = setting(
        4,
        env="TORPOR_WORKERS_PER_FILE",
        unit="instances",
        why="slices that work on one large file at the same time; SHA-256 of it in order follows at 1 GB/s at most",
    )
    buffer_bytes: int = setting(
        64 * MIB,
        env="TORPOR_BUFFER_BYTES",
        unit="bytes",
        why="memory for parts of all files of one instance together, which bounds its size whatever the models'",
    )
    stall_s: float = setting(
        15.0,
        env="TORPOR_STALL_SECONDS",
        unit="s",
        why="a source that sends less than 1 KiB/s for this long has stalled: the range is asked for anew",
    )

    def __post_init__(self) -> None:
        """Raise SettingsError for memory in which no transfer could get on."""
        if self.buffer_bytes < STRETCH_PARTS * self.part_bytes:
            raise SettingsError(
                f"TORPOR_BUFFER_BYTES: {self.buffer_bytes} does not hold {STRETCH_PARTS} parts of TORPOR_PART_BYTES, "
                f"{self.part_bytes} each"
            )
