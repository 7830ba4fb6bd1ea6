"""The settings of `serve`; read once by `main.py`."""

from dataclasses import dataclass

from functions.kit.kube import SERVICE_ACCOUNT
from functions.kit.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything is, and what this installation serves with."""

    database_url: Secret = setting(
        env="TORPOR_DATABASE_URL", why="the PostgreSQL that holds all state; there is no sensible default"
    )
    broker_url: str = setting(
        "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
        env="TORPOR_BROKER_URL",
        why="where events go, ours and the engines'; the default is the Broker of eventing/broker.yaml",
    )
    jwks_url: str = setting(
        "http://auth.torpor.svc.cluster.local/auth/jwks.json",
        env="TORPOR_JWKS_URL",
        why="the public keys that tokens are verified with, here and in every engine",
    )
    verify_url: str = setting(
        "http://auth.torpor.svc.cluster.local/auth/verify",
        env="TORPOR_VERIFY_URL",
        why="where an API key is asked about, here and in every engine",
    )
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
    namespace: str = setting("torpor", env="TORPOR_NAMESPACE", why="where the Knative Services of models are created")
    public_url: str = setting(
        "http://127.0.0.1:8780",
        env="TORPOR_PUBLIC_URL",
        why="where people reach the front door; a server's gateway_url starts with it",
    )
    default_runtime: str = setting(
        "vllm", env="TORPOR_DEFAULT_RUNTIME", why="the runtime of a request that names none: vllm (CUDA) or vllm-cpu"
    )
    engine_image: str = setting(
        "",
        env="TORPOR_ENGINE_IMAGE",
        why="image of the default runtime's engine, pinned by digest on a cluster; empty takes the runtime file's",
    )
    runtimes_dir: str = setting(
        "", env="TORPOR_RUNTIMES_DIR", why="folder with further runtime files; empty means the built-in ones alone"
    )
    gateway: str = setting(
        "torpor", env="TORPOR_GATEWAY", why="the Gateway, in the same namespace, that models' HTTPRoutes attach to"
    )
    ingress_service: str = setting(
        "kourier-internal.kourier-system",
        env="TORPOR_INGRESS_SERVICE",
        why="<service>.<namespace> behind which Knative routes by host; the default is Kourier's internal listener",
    )
