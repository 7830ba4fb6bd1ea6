"""What a cluster's administrator has decided, as far as the webhooks ask: an argument of `admission.admit`.

The defaults are those of a fresh Knative Serving 1.23. `from_config_maps` reads the same ConfigMaps that a cluster has,
so the patches under `knative/components/cluster-config` say the same thing to both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

_ON: Final = frozenset({"enabled", "allowed"})
# On in a fresh installation: serving `config/core/configmaps/features.yaml`.
_DEFAULT_FEATURES: Final = frozenset({"multi-container", "kubernetes.podspec-volumes-emptydir"})


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The keys of `config-features`, `config-defaults` and `config-autoscaler` that decide what is admitted."""

    features: frozenset[str] = _DEFAULT_FEATURES
    """Keys of `config-features` that are `enabled` or `allowed`."""
    timeout_s: int = 300
    """`revision-timeout-seconds`: for revisions that name no timeout."""
    max_timeout_s: int = 600
    """`max-revision-timeout-seconds`: the longest that a revision may name."""
    response_start_timeout_s: int = 300
    """`revision-response-start-timeout-seconds`; given only to revisions with a longer timeout."""
    container_concurrency: int = 0
    """`container-concurrency`: calls at once per replica; 0 is unlimited."""
    max_container_concurrency: int = 1000
    """`container-concurrency-max-limit`."""
    zero_initial_scale: bool = False
    """`allow-zero-initial-scale`: may a revision become ready without ever having run."""
    max_scale_limit: int = 0
    """`max-scale-limit`; 0 is none."""

    @classmethod
    def from_config_maps(cls, data: Mapping[str, Mapping[str, str]]) -> Self:
        """Read ConfigMap name -> its data; what is missing keeps Knative's default. Raises ValueError for a bad number."""
        fresh = cls()
        defaults, autoscaler = data.get("config-defaults", {}), data.get("config-autoscaler", {})
        return cls(
            features=_features(data.get("config-features", {})),
            timeout_s=int(defaults.get("revision-timeout-seconds", fresh.timeout_s)),
            max_timeout_s=int(defaults.get("max-revision-timeout-seconds", fresh.max_timeout_s)),
            response_start_timeout_s=int(
                defaults.get("revision-response-start-timeout-seconds", fresh.response_start_timeout_s)
            ),
            container_concurrency=int(defaults.get("container-concurrency", fresh.container_concurrency)),
            max_container_concurrency=int(
                defaults.get("container-concurrency-max-limit", fresh.max_container_concurrency)
            ),
            zero_initial_scale=autoscaler.get("allow-zero-initial-scale", "false").lower() == "true",
            max_scale_limit=int(autoscaler.get("max-scale-limit", fresh.max_scale_limit)),
        )

    def has(self, feature: str) -> bool:
        """Is this key of `config-features` switched on."""
        return feature in self.features


def _features(data: Mapping[str, str]) -> frozenset[str]:
    switched = {key: value.lower() in _ON for key, value in data.items() if not key.startswith("_")}
    kept = {key for key in _DEFAULT_FEATURES if switched.get(key, True)}
    return frozenset(kept | {key for key, on in switched.items() if on})
