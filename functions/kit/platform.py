"""The settings that functions share: where their surroundings are. Each one's `Settings` extends what it needs."""

from dataclasses import dataclass

from functions.kit.objects import S3Objects
from functions.kit.settings import Keys, Secret, setting


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Where PostgreSQL, the Broker and auth are, and whose events are believed."""

    database_url: Secret = setting(
        env="TORPOR_DATABASE_URL", why="the PostgreSQL that holds all state; there is no sensible default"
    )
    broker_url: str = setting(
        "http://broker-ingress.knative-eventing.svc.cluster.local/torpor/default",
        env="TORPOR_BROKER_URL",
        why="where events go; the default is the Broker of eventing/broker.yaml",
    )
    namespace: str = setting(
        "torpor",
        env="TORPOR_NAMESPACE",
        why="where the function runs: events that another namespace's Broker delivers are refused, and serve creates the "
        "Knative Services of models there",
    )
    event_keys: Keys = setting(
        env="TORPOR_EVENT_KEY",
        why="signs the events that functions emit; several with commas between: the first signs, all verify",
    )
    jwks_url: str = setting(
        "http://auth.torpor.svc.cluster.local/auth/jwks.json",
        env="TORPOR_JWKS_URL",
        why="the public keys that tokens are verified with; the default is the function auth inside the cluster",
    )
    verify_url: str = setting(
        "http://auth.torpor.svc.cluster.local/auth/verify",
        env="TORPOR_VERIFY_URL",
        why="where an API key is asked about; its verdict is cached for 30 s",
    )


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The S3 that keeps models, and the bodies of asynchronous inference."""

    s3_endpoint: str = setting(env="TORPOR_S3_ENDPOINT", why="the S3 that keeps what is large; empty means AWS itself")
    s3_bucket: str = setting(env="TORPOR_S3_BUCKET", why="the bucket in it")
    s3_access_key: Secret = setting(env="TORPOR_S3_ACCESS_KEY", why="may do in the bucket what the function does there")
    s3_secret_key: Secret = setting(env="TORPOR_S3_SECRET_KEY", why="belongs to the access key")
    s3_region: str = setting(
        "us-east-1", env="TORPOR_S3_REGION", why="part of every signature; S3 servers without regions take this one"
    )

    def objects(self) -> S3Objects:
        """The bucket; it is connected to at first use."""
        return S3Objects(self.s3_endpoint, self.s3_region, self.s3_access_key, self.s3_secret_key, self.s3_bucket)
