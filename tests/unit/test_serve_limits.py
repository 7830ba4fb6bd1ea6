"""What the cluster allows: refused with the ConfigMap's key, before anything is created; times follow the model."""

from dataclasses import replace

import pytest

from functions.kit.problem import Problem
from functions.serve import limits, planning, service
from functions.serve.planning import Model, Plan
from functions.serve.problems import ClusterLimit, NotPinned
from functions.serve.requests import Gpu, Scale, ServeOptions
from functions.serve.runtimes import Runtimes
from functions.serve.settings import Settings
from tests.unit.serve_models import SMOLLM2
from tests.unit.test_serve_service import MODEL, SERVER, SETTINGS

DIGEST = "registry.example/engine@sha256:" + "0" * 64


def _plan(options: ServeOptions | None = None, runtime: str = "vllm-cpu") -> Plan:
    return planning.plan(MODEL, options or ServeOptions(), Runtimes(), runtime)


@pytest.mark.parametrize(
    ("options", "settings", "kind", "said"),
    [
        pytest.param(
            ServeOptions(timeout_s=601), SETTINGS, ClusterLimit, "max-revision-timeout-seconds", id="a long call"
        ),
        pytest.param(
            ServeOptions(scale=Scale(max=5)),
            replace(SETTINGS, max_scale_limit=4),
            ClusterLimit,
            "max-scale-limit",
            id="many replicas",
        ),
        pytest.param(ServeOptions(), replace(SETTINGS, digests_only=True), NotPinned, "by digest", id="a tag"),
    ],
)
def test_refusals(options: ServeOptions, settings: Settings, kind: type[Problem], said: str) -> None:
    """Each names what to change, in the cluster's ConfigMap and in ours."""
    with pytest.raises(kind) as caught:
        limits.check(_plan(options), settings)
    assert (said in caught.value.detail, "ConfigMap torpor" in caught.value.detail) == (True, True)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        pytest.param(ServeOptions(timeout_s=600), SETTINGS, id="as long as allowed"),
        pytest.param(ServeOptions(scale=Scale(max=4)), replace(SETTINGS, max_scale_limit=4), id="as many as allowed"),
        pytest.param(ServeOptions(scale=Scale(max=100)), SETTINGS, id="no limit"),
        pytest.param(ServeOptions(), replace(SETTINGS, digests_only=True, engine_image=DIGEST), id="a digest"),
    ],
)
def test_what_is_allowed(options: ServeOptions, settings: Settings) -> None:
    """The limit itself is no breach of it."""
    limits.check(_plan(options), settings)


@pytest.mark.parametrize(
    ("image", "pinned"),
    [("e", False), ("e:1", False), ("e@sha256:123", False), (DIGEST + "0", False), (DIGEST, True)],
)
def test_what_a_digest_is(image: str, pinned: bool) -> None:  # noqa: FBT001  # a column
    """All 64 digits of SHA-256 and nothing behind them."""
    settings = replace(SETTINGS, digests_only=True, engine_image=image)
    try:
        limits.check(_plan(), settings)
    except NotPinned:
        assert not pinned
    else:
        assert pinned


def test_times_follow_the_model() -> None:
    """What starts longer may be called longer, as far as the cluster allows; very large weights get time to arrive."""
    slow = _plan(ServeOptions(gpu=Gpu(memory_mb=24576)), "vllm")
    assert (slow.start_s, limits.timeout_s(slow, SETTINGS)) == (1500, 600)
    assert limits.timeout_s(slow, replace(SETTINGS, max_revision_timeout_s=3600)) == 1800
    assert limits.timeout_s(_plan(ServeOptions(timeout_s=30)), SETTINGS) == 30
    large = Model("m", "huge", "available", {"config": SMOLLM2, "weights_bytes": 800 * 2**30, "format": "safetensors"})
    plan = planning.plan(large, ServeOptions(gpu=Gpu(memory_mb=1_000_000)), Runtimes(), "vllm")
    assert plan.start_s == 300 + 800 * 1024 // 100
    made = service.knative_service(SERVER, plan, SETTINGS)["spec"]["template"]
    assert made["metadata"]["annotations"]["serving.knative.dev/progress-deadline"] == f"{plan.start_s}s"
    (container,) = made["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] <= plan.start_s


def test_the_target_follows_the_cache() -> None:
    """No more requests at once than a replica has room for, unless somebody asks for it."""
    tight = ServeOptions(params={"concurrency": 1, "max_model_len": 8192}, memory_mb=2400)
    plan = _plan(tight)
    assert plan.scale.target == min(8, 4 * plan.verdict.concurrency)
    assert _plan(replace_scale(tight, 20)).scale.target == 20


def replace_scale(options: ServeOptions, target: int) -> ServeOptions:
    """The options with a target of their own."""
    return ServeOptions(params=options.params, memory_mb=options.memory_mb, scale=Scale(target=target))
