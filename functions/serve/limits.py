"""What this cluster allows, against what a plan needs: refused before anything is created, with the key to change. Pure.

The limits are settings, with Knative's own defaults, and not read from Knative's ConfigMaps: serve has no rights outside its
namespace, and whoever raises a limit there has this installation's ConfigMap at hand. The webhook still has the last word.
"""

import re
from typing import Final

from functions.serve.planning import Plan
from functions.serve.problems import ClusterLimit, NotPinned
from functions.serve.settings import Settings

_DIGEST: Final = re.compile(r".+@sha256:[0-9a-f]{64}")
# What a call may take beyond the start of its engine: a few thousand tokens of a slow model.
ANSWER_S: Final = 300
# What a call may take however fast the engine starts; Knative's own limit, so a fresh cluster allows it.
USUAL_S: Final = 600


def timeout_s(plan: Plan, settings: Settings) -> int:
    """How long a call may take, its wait for a cold start included: as asked, else as the model needs within the limit."""
    return plan.timeout_s or min(max(USUAL_S, plan.start_s + ANSWER_S), settings.max_revision_timeout_s)


def check(plan: Plan, settings: Settings) -> None:
    """Raises ClusterLimit and NotPinned."""
    if timeout_s(plan, settings) > settings.max_revision_timeout_s:
        raise ClusterLimit(
            f"timeout_s {plan.timeout_s} is above what the cluster allows a call: {settings.max_revision_timeout_s} s. "
            "Ask for less, or raise max-revision-timeout-seconds in the ConfigMap config-defaults of knative-serving and "
            "max-revision-timeout in the ConfigMap torpor"
        )
    if settings.max_scale_limit and plan.scale.max > settings.max_scale_limit:
        raise ClusterLimit(
            f"scale.max {plan.scale.max} is above what the cluster allows a server: {settings.max_scale_limit} replicas. "
            "Ask for less, or raise max-scale-limit in the ConfigMap config-autoscaler of knative-serving and in the "
            "ConfigMap torpor"
        )
    image = image_of(plan, settings)
    if settings.digests_only and not _DIGEST.fullmatch(image):
        raise NotPinned(
            f"the image {image} of the runtime {plan.runtime.name} is not pinned by digest: name it as "
            "<image>@sha256:<64 hexadecimal digits> in engine-image of the ConfigMap torpor, or in the runtime's file; "
            "`docker buildx imagetools inspect` shows the digest of a tag"
        )


def image_of(plan: Plan, settings: Settings) -> str:
    """The image of a plan's engine."""
    return settings.engine_image if plan.usual_image and settings.engine_image else plan.runtime.image
