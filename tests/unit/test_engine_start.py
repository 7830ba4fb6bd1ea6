"""What happens around the start of an engine."""

import gc
from pathlib import Path

import pytest

from functions.kit.problem import Retry
from functions.serve.engine.cores import threads
from functions.serve.engine.manifest import Refused
from functions.serve.engine.start import architectures, collector_off
from functions.serve.engine.transfer import ATTEMPTS, patiently


def test_collector_is_back_on_after_the_imports() -> None:
    """Off for good would be a leak; off during imports saves a quarter of them."""
    with collector_off():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()


def test_architectures_are_read_from_the_configuration(tmp_path: Path) -> None:
    """What vLLM will look for."""
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM", 3]}')
    assert architectures(tmp_path) == ["LlamaForCausalLM"]


@pytest.mark.parametrize("config", [None, "{", "[]"])
def test_model_without_configuration_is_refused(tmp_path: Path, config: str | None) -> None:
    """The sentence names the file."""
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(Refused, match=r"config\.json"):
        architectures(tmp_path)


@pytest.mark.parametrize(
    ("cores", "quota", "expected"),
    [(8, "max 100000", 7), (8, "400000 100000", 3), (8, "50000 100000", 1), (2, "max 100000", 1), (1, "max 100000", 1)],
)
def test_one_core_stays_free(cores: int, quota: str, expected: int) -> None:
    """A container's share counts, not the node's cores; one core is the API's."""
    assert threads(cores, quota) == expected


async def test_store_that_needs_a_moment_is_asked_again() -> None:
    """S3 may start together with the engine; pauses double."""
    pauses: list[float] = []

    async def read() -> str:
        if len(pauses) < 3:
            raise Retry(1)
        return "here"

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await patiently(read, sleep=sleep) == "here"
    assert pauses == [0.5, 1.0, 2.0]


async def test_store_that_stays_silent_is_an_error() -> None:
    """After the last try the reason comes through."""
    tries: list[int] = []

    async def read() -> None:
        tries.append(1)
        raise Retry(1, "S3 does not answer")

    async def sleep(_: float) -> None:
        """Not in a test."""

    with pytest.raises(Retry):
        await patiently(read, sleep=sleep)
    assert len(tries) == ATTEMPTS
