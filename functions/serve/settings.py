"""The settings of `serve`; read once by `main.py`."""

from dataclasses import dataclass

from functions.kit.kube import SERVICE_ACCOUNT
from functions.kit.platform import Bucket, Platform
from functions.kit.settings import Secret, setting


@dataclass(frozen=True, kw_only=True)
class Settings(Platform, Bucket):
    """Where everything is, and what this installation serves with."""

    kube_url: str = setting(
        "https://kubernetes.default.svc",
        env="TORPOR_KUBE_URL",
        why="the Kubernetes API; the default is its address inside a cluster",
    )
    kube_credentials: str = setting(
        SERVICE_ACCOUNT,
        env="TORPOR_KUBE_CREDENTIALS",
        why="folder with `token` and `ca.crt`; the default is where a pod's service account lies",
    )
    public_url: str = setting(
        "http://127.0.0.1:8780",
        env="TORPOR_PUBLIC_URL",
        why="where people reach the front door; a server's gateway_url starts with it",
    )
    default_runtime: str = setting(
        "vllm",
        env="TORPOR_DEFAULT_RUNTIME",
        why="the runtime of a request that names none, where it can serve the model; its device decides for the others",
    )
    engine_image: str = setting(
        "",
        env="TORPOR_ENGINE_IMAGE",
        why="image of the default runtime's engine and of those whose files name the same, pinned by digest on a cluster; "
        "empty takes the file's",
    )
    runtimes_dir: str = setting(
        "", env="TORPOR_RUNTIMES_DIR", why="folder with further runtime files; empty means the built-in ones alone"
    )
    usage_sink: str = setting(
        "http://status.torpor.svc.cluster.local/events",
        env="TORPOR_USAGE_SINK",
        why="where engines send usage: status itself, which has stored it when it answers, or the Broker, if that keeps "
        "what it takes; engines hold no outbox",
    )
    otlp_endpoint: str = setting(
        "",
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        why="where this function sends its spans, and the engines that it makes send theirs; empty sends none",
    )
    digests_only: bool = setting(
        False,
        env="TORPOR_DIGESTS_ONLY",
        why="whether a server's image has to be pinned by digest: on a cluster a tag can mean another image tomorrow",
    )
    max_revision_timeout_s: int = setting(
        600,
        env="TORPOR_MAX_REVISION_TIMEOUT",
        unit="s",
        why="what config-defaults says as max-revision-timeout-seconds: how long a call to a model may take at most, its "
        "wait for a cold start included; the default is Knative's",
    )
    max_scale_limit: int = setting(
        0,
        env="TORPOR_MAX_SCALE_LIMIT",
        unit="replicas",
        why="what config-autoscaler says as max-scale-limit; 0, Knative's default, is none",
    )
    zero_initial_scale: bool = setting(
        False,
        env="TORPOR_ZERO_INITIAL_SCALE",
        why="whether config-autoscaler says allow-zero-initial-scale, as the strategy `replace` needs it; Knative's own "
        "default is no",
    )
    modelserve_actor: str = setting(
        "",
        env="TORPOR_MODELSERVE_ACTOR",
        why="the user in whose name ModelServe resources without a token are served: whoever may create them in the "
        "namespace then asks as this user; empty refuses resources without a token",
    )
    gateway: str = setting(
        "torpor", env="TORPOR_GATEWAY", why="the Gateway, in the same namespace, that models' HTTPRoutes attach to"
    )
    ingress_service: str = setting(
        "kourier-internal.kourier-system",
        env="TORPOR_INGRESS_SERVICE",
        why="<service>.<namespace> behind which Knative routes by host; the default is Kourier's internal listener",
    )
    ingress_url: str = setting(
        "http://kourier-internal.kourier-system.svc.cluster.local",
        env="TORPOR_INGRESS_URL",
        why="where serve itself asks models: whatever routes by host on this cluster; the default is Kourier's internal "
        "listener",
    )
    inference_key: Secret = setting(
        env="TORPOR_INFERENCE_KEY",
        why="serve's own API key for asking models, which the setup Job makes and keeps in the Secret torpor-inference",
    )
    inference_at_once: int = setting(
        40,
        env="TORPOR_INFERENCE_AT_ONCE",
        unit="calls",
        why="asynchronous calls to models under way in all; each is held by an instance of serve, which has room for "
        "other work besides (containerConcurrency in its manifest), and by the Broker, which may bring no more at once",
    )
    inference_per_server: int = setting(
        0,
        env="TORPOR_INFERENCE_PER_SERVER",
        unit="calls",
        why="likewise for one server; 0 takes what its plan says: its replicas at most times the calls of each at once",
    )
    inference_open: int = setting(
        10_000,
        env="TORPOR_INFERENCE_OPEN",
        unit="requests",
        why="how many requests of one person may wait or run; each is a row and a small object until it is forgotten",
    )
    inference_attempts: int = setting(
        5,
        env="TORPOR_INFERENCE_ATTEMPTS",
        unit="calls",
        why="how often a model is asked that does not answer, or says that it cannot now; the Trigger delivers once more",
    )
    inference_call_s: float = setting(
        570.0,
        env="TORPOR_INFERENCE_CALL_SECONDS",
        unit="s",
        why="how long one attempt may take, waking the model included: inside the 600 s that Knative gives a call",
    )
    inference_deadline_s: int = setting(
        86_400,
        env="TORPOR_INFERENCE_DEADLINE_SECONDS",
        unit="s",
        why="after which a request that named no deadline is given up: a day",
    )
    inference_keep_s: int = setting(
        604_800,
        env="TORPOR_INFERENCE_KEEP_SECONDS",
        unit="s",
        why="how long results are kept after the end, a week; the Idempotency-Key is free again after it",
    )
    webhook_hosts: tuple[str, ...] = setting(
        (),
        env="TORPOR_WEBHOOK_HOSTS",
        why="hosts that callbacks may name although they have private addresses, and over plain http too",
    )
    webhook_attempts: int = setting(
        8,
        env="TORPOR_WEBHOOK_ATTEMPTS",
        unit="calls",
        why="how often a webhook is delivered to a receiver that does not take it: over two minutes with the Trigger's "
        "back-off",
    )
