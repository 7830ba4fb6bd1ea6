"""What auth reads from its environment, once, in `main.py` and in the setup Job."""

from dataclasses import dataclass

from functions.kit.kube import SERVICE_ACCOUNT
from functions.kit.settings import Secret, setting


@dataclass(frozen=True)
class Settings:
    """The function."""

    database_url: Secret = setting(env="TORPOR_DATABASE_URL", why="users and API keys live there")
    signing_keys: Secret = setting(
        env="TORPOR_SIGNING_KEYS",
        why='the private JWKS that signs tokens, made by "python -m functions.auth.keygen"; the first key signs',
    )
    hs256_secret: Secret = setting(
        Secret(""),
        env="TORPOR_HS256_SECRET",
        unit=">= 32 bytes",
        why="when set, auth also accepts HS256 tokens made with it; it never enters the JWKS. Off by default: a shared "
        "secret lets every holder make tokens",
    )


@dataclass(frozen=True)
class SetupSettings:
    """The setup Job."""

    database_url: Secret = setting(env="TORPOR_DATABASE_URL", why="where the schema and the first admin go")
    kube_url: str = setting(
        "https://kubernetes.default.svc", env="TORPOR_KUBE_URL", why="the API that keeps the first admin's Secret"
    )
    kube_credentials: str = setting(
        SERVICE_ACCOUNT,
        env="TORPOR_KUBE_CREDENTIALS",
        unit="directory",
        why="where Kubernetes puts a pod's token and ca.crt",
    )
    namespace: str = setting("torpor", env="TORPOR_NAMESPACE", why="where the Secret torpor-admin is")
