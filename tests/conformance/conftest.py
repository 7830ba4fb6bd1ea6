"""One suite for the stub engine and for the real vLLM: the stub may stand in only as long as both pass it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.engines import Engine, running, stored_model, stub, vllm
from tests.conformance.platform import Platform, serve


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """Auth and the Broker, as an engine sees them."""
    made = Platform()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session", params=["stub", pytest.param("vllm", marks=pytest.mark.engine)])
def engine(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The engine under test, running."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "stub":
        with running(stub, platform, {}, folder / "log") as started:
            yield started
    else:
        with (
            stored_model(folder) as settings,
            running(vllm, platform, settings, folder / "log") as started,
        ):
            yield started
