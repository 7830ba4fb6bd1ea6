"""The settings that download, serve and status share: where their surroundings are. Each one's `Settings` extends it."""

from dataclasses import dataclass

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
