"""One laptop runtime with one served model for all acceptance tests: the steps of the demo, taken once.

running   the runtime, ready (session)
client    the administrator, logged in (session)
model     SmolLM2-135M-Instruct, fetched and verified (session)
server    its server, rolled out by the event, with the real vLLM (session)
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kn_model.client import Client
from kn_model.demo import hub, story
from kn_model.demo.process import below
from kn_model.demo.runtime import RunningRuntime, runtime
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.output import say
from kn_model.records import ModelRecord, ServerRecord


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short path (PostgreSQL's socket lies below it), also the home of the saved login."""
    with tempfile.TemporaryDirectory(prefix="torpor-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", f"{name}/config")
        yield Path(name)


@pytest.fixture(scope="session")
def hub_url(folder: Path) -> Iterator[str]:
    """The hub, or the small one where no hub answers."""
    with ExitStack() as stack:
        url = hub.endpoint()
        yield url if hub.answers(url, REPOSITORY) else stack.enter_context(hub.small_hub(folder, say))


@pytest.fixture(scope="session")
def running(folder: Path, hub_url: str) -> Iterator[RunningRuntime]:
    """`kn model up`; at the end `kn model down`, after which nothing of it runs."""
    with runtime(folder / "runtime", {"hf-endpoint": hub_url}, say) as found:
        yield found
        processes = below(found.pid)
    assert [process for process in processes if process.is_running()] == []


@pytest.fixture(scope="session")
def client(running: RunningRuntime) -> Iterator[Client]:
    """`kn model login`."""
    found = running.log_in()
    yield found
    found.close()


@pytest.fixture(scope="session")
def model(client: Client) -> ModelRecord:
    """`kn model pull`."""
    return story.pull(client)


@pytest.fixture(scope="session")
def server(client: Client, model: ModelRecord) -> ServerRecord:
    """The rollout that the event brings."""
    return story.rollout(client, model)
