"""vLLM's command line: a contract chooses numbers, never who may call or what is run."""

import json
from pathlib import Path

import pytest

from functions.kit.settings import load
from functions.serve.engine.arguments import chosen, vllm_arguments
from functions.serve.engine.manifest import Refused
from functions.serve.engine.settings import EngineSettings
from tests.deliveries import ENVIRONMENT

ENVIRON = {
    "TORPOR_SERVER_NAME": "s",
    "TORPOR_MODEL_NAME": "o/m",
    "TORPOR_JWKS_URL": "http://auth/jwks",
    "TORPOR_VERIFY_URL": "http://auth/verify",
    "TORPOR_MODEL_UUID": "u",
    **ENVIRONMENT,
}


def test_pairs_become_one_argument_each() -> None:
    """A value can never be read as another option."""
    assert chosen('["--max-model-len", "2048", "--enforce-eager", "--seed=1"]') == [
        "--max-model-len=2048",
        "--enforce-eager",
        "--seed=1",
    ]


@pytest.mark.parametrize(
    "engine_args",
    [
        '["--trust-remote-code"]',
        '["--middleware=os.system"]',
        '["--api-key", "x"]',
        '["--model=/etc"]',
        '["--seed", "1", "2"]',
        '["-tp", "2"]',
        '["x"]',
        '["--seed", 1]',
        "{}",
        "no json",
    ],
)
def test_anything_else_is_refused(engine_args: str) -> None:
    """Only what the table allows, as a list of strings (S8)."""
    with pytest.raises(Refused, match="TORPOR_ENGINE_ARGS"):
        chosen(engine_args)


def test_abbreviated_option_is_refused() -> None:
    """Argparse would complete `--trust` by itself."""
    with pytest.raises(Refused, match="--trust"):
        chosen('["--trust"]')


def test_ours_come_last() -> None:
    """Of an option given twice argparse takes the last, so nothing chosen can displace the edge, names or address."""
    settings = load(EngineSettings, {**ENVIRON, "TORPOR_ENGINE_ARGS": json.dumps(["--seed", "1"]), "PORT": "9"})
    arguments = vllm_arguments(settings, Path("/model"))
    assert arguments[0] == "--seed=1"
    assert arguments[1:4] == ["--model=/model", "--host=0.0.0.0", "--port=9"]
    assert arguments[4:7] == ["--served-model-name", "s", "o/m"]
    assert "--middleware=functions.serve.engine.edge.Edge" in arguments


def test_one_name_is_served_once() -> None:
    """A model whose name is its server's is listed once."""
    settings = load(EngineSettings, {**ENVIRON, "TORPOR_MODEL_NAME": "s"})
    arguments = vllm_arguments(settings, Path("/model"))
    assert arguments[arguments.index("--served-model-name") + 1 :][:2] == [
        "s",
        "--middleware=functions.serve.engine.edge.Edge",
    ]
