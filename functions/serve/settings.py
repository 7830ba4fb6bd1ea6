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
