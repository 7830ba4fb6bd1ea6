"""Names of servers: what can be one, and the one that a model's server gets without a word."""

import pytest

from functions.serve import names
from functions.serve.problems import BadName


@pytest.mark.parametrize("name", ["Bad", "1st", "a-", "a" * 41, "serve", "candidate-smol"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    """`candidate-smol` would be the address at which a candidate of smol is asked."""
    with pytest.raises(BadName):
        names.check(name)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen2.5-0.5B", "qwen-qwen2-5-0-5b"),
        ("serve", "model-serve"),
        ("7b", "model-7b"),
        ("Candidate_7B", "model-candidate-7b"),
        ("candidate", "candidate"),
    ],
)
def test_a_models_server_has_a_name_that_can_be_one(model: str, name: str) -> None:
    """Whatever the model is called."""
    assert names.check(names.from_model(model)) == name
