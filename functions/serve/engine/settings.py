"""Settings of an engine: written into the revision by serve, read once by `__main__`, `edge` and the stub."""

from dataclasses import dataclass

from functions.kit.settings import Keys, Secret, setting


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """What the middleware inside the engine needs: who may call, and where usage goes."""

    server_name: str = setting(
        env="TORPOR_SERVER_NAME", why="the server's name: one of the two names that clients may put in `model`"
    )
    model_name: str = setting(env="TORPOR_MODEL_NAME", why="the model's name: the other one")
    model_uuid: str = setting(
        env="TORPOR_MODEL_UUID",
        default="",
        why="the model: which manifest (manifests/<uuid>.json), and in every log line",
    )
    revision: str = setting(
        env="K_REVISION", default="", why="the revision that this engine is of, for its usage; Knative sets it"
    )
    kubernetes: str = setting(
        env="KUBERNETES_SERVICE_HOST",
        default="",
        why="every pod has it: what the engine uses is then what its container's cgroup counts",
    )
    traceparent: str = setting(
        env="TRACEPARENT", default="", why="the trace in which this revision was made; its engine starts in that trace"
    )
    jwks_url: str = setting(env="TORPOR_JWKS_URL", why="where auth publishes the keys that tokens are verified with")
    verify_url: str = setting(env="TORPOR_VERIFY_URL", why="where auth says what an API key stands for")
    usage_sink: str = setting(
        env="TORPOR_USAGE_SINK",
        default="",
        why="where usage is sent: the Broker, or status itself; empty: usage is only logged",
    )
    event_keys: Keys = setting(
        env="TORPOR_ENGINE_EVENT_KEY",
        why="signs `usage.recorded` and `engine.started` and is good for nothing else; several with commas between: the first signs",
    )
    paths: str = setting(
        env="TORPOR_ENGINE_PATHS",
        default="",
        why="JSON list of the paths that clients may post to, from the runtime's file; empty: all that the edge knows",
    )
    max_body_bytes: int = setting(
        env="TORPOR_ENGINE_MAX_BODY_BYTES",
        default=4 * 1024 * 1024,
        unit="bytes",
        why="the largest request; a prompt of 1 M tokens is about 4 MiB of text",
    )
    max_choices: int = setting(
        env="TORPOR_ENGINE_MAX_CHOICES",
        default=16,
        unit="texts",
        why="the most answers (`n` times prompts) that one request may ask for: each costs a whole generation",
    )
    max_inputs: int = setting(
        env="TORPOR_ENGINE_MAX_INPUTS",
        default=512,
        unit="texts",
        why="the most texts that one embedding request may hold; indexing sends them by the hundred",
    )
    usage_buffer: int = setting(
        env="TORPOR_ENGINE_USAGE_BUFFER",
        default=10_000,
        unit="records",
        why="usage records kept while the sink does not answer; about 500 bytes each, the oldest go to the log",
    )
    drain_s: int = setting(
        env="TORPOR_ENGINE_DRAIN_S",
        default=25,
        unit="s",
        why="how long streams may finish after SIGTERM; below the 30 s after which a cluster kills",
    )


@dataclass(frozen=True, kw_only=True)
class ListenSettings:
    """Where the engine listens."""

    host: str = setting(env="HOST", default="0.0.0.0", why="a container binds all its addresses")
    port: int = setting(env="PORT", default=8080, why="what Knative expects and sets")


@dataclass(frozen=True, kw_only=True)
class EngineSettings(EdgeSettings, ListenSettings):
    """Everything that `python -m functions.serve.engine` reads."""

    s3_endpoint: str = setting(env="TORPOR_S3_ENDPOINT", default="", why="address of the S3 server; empty: AWS")
    s3_region: str = setting(env="TORPOR_S3_REGION", default="us-east-1", why="region that requests are signed for")
    s3_bucket: str = setting(env="TORPOR_S3_BUCKET", default="torpor", why="the bucket of models and manifests")
    s3_access_key: Secret = setting(env="TORPOR_S3_ACCESS_KEY", default=Secret(""), why="S3 access key id")
    s3_secret_key: Secret = setting(env="TORPOR_S3_SECRET_KEY", default=Secret(""), why="S3 secret key")
    engine_args: str = setting(
        env="TORPOR_ENGINE_ARGS",
        default="[]",
        why="JSON list of vLLM arguments that serve's contract chose; only those of `arguments.ALLOWED` are taken",
    )
    weights_in: str = setting(
        env="TORPOR_WEIGHTS_IN",
        default="memory",
        why="`memory`: sealed memory files, immutable once verified, freed when the engine is ready, so the revision "
        "needs the weights' size twice while it starts; `disk`: TMPDIR, for a node with less memory",
    )
    fetch_parallel: int = setting(
        env="TORPOR_FETCH_PARALLEL",
        default=8,
        unit="requests",
        why="ranges read from S3 at once, 8 MiB each; past 8 the hashing of one core is the limit, not the network",
    )
