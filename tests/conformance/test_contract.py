"""The contract against vLLM's own report: weights in memory, tokens in the cache, and that what it chose starts at all.

Every model is planned as a server would be and started with the plan's own arguments.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.serve import planning
from functions.serve.planning import Model, Plan
from functions.serve.requests import ServeOptions
from functions.serve.runtimes import Runtimes
from tests.conformance import tiny_models
from tests.conformance.tiny_models import Stored

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "grouped heads: Llama": tiny_models.LLAMA,
    "a window in every layer: Mistral": tiny_models.MISTRAL,
    "a window in five of six layers: Gemma 3": tiny_models.GEMMA3,
    "a latent vector: DeepSeek V2": tiny_models.DEEPSEEK,
}


@dataclass(frozen=True)
class Both:
    """What we said and what vLLM says."""

    plan: Plan
    report: Mapping[str, Any]


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """One start of vLLM for each model."""
    return started(CONFIGS[request.param], tmp_path_factory.mktemp("model"), max_model_len=4096)


def started(config: Mapping[str, Any], folder: Path, **params: int) -> Both:
    """Write the model, plan it as a server would be, and start vLLM with what was planned."""
    stored = tiny_models.write(config, folder)
    model = Model("", config["model_type"], "available", stored.metadata)
    options = ServeOptions(params={"max_num_seqs": 4, "max_num_batched_tokens": 512, **params})
    plan = planning.plan(model, options, Runtimes(), "vllm-cpu")
    assert plan.verdict.fits, plan.verdict.reason
    return Both(plan, report(stored, plan))


def report(stored: Stored, plan: Plan) -> Mapping[str, Any]:
    """Start vLLM with what was planned."""
    command = [sys.executable, "-m", "tests.conformance.vllm_report", f"--model={stored.folder}", *plan.arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_weights(both: Both) -> None:
    """Within 5 %, of which rounding up to whole MB is less than three."""
    assert both.plan.verdict.split.weights_mb * 2**20 == pytest.approx(both.report["weights"], rel=0.05)


def test_tokens_in_the_cache(both: Both) -> None:
    """Within 5 %."""
    assert both.plan.verdict.kv_tokens == pytest.approx(both.report["kv_tokens"], rel=0.05)


def test_requests_at_once(both: Both) -> None:
    """As many of full length as the contract said, and no more than one beyond."""
    assert both.plan.verdict.concurrency <= both.report["concurrency"] < both.plan.verdict.concurrency + 1.5


def test_an_encoder_keeps_no_cache(tmp_path: Path) -> None:
    """Weights within 5 %, and it starts without a cache, with batches as long as its context."""
    both = started(tiny_models.BERT, tmp_path)
    assert both.plan.arguments[:3] == ("--enforce-eager", "--runner", "pooling")
    assert both.plan.verdict.split.weights_mb * 2**20 == pytest.approx(both.report["weights"], rel=0.05)
    assert (both.plan.verdict.kv_tokens, both.report["groups"]) == (0, 0)
