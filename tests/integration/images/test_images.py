"""The images hold what their pods run: every command starts from the files that the Dockerfiles copy, and nothing else.

No image is built here (that takes a container builder and a registry). What is done is what a builder would do with our
lines: the copies, the installs with their hashes, the bytecode; then the manifests' commands run in that tree as in a pod.
"""

import http.client
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.auth.signing import generate
from kn_model.local import ports
from tests.deliveries import ENVIRONMENT
from tests.integration.images import container, dockerfile
from tests.integration.images.dockerfile import Image

ROOT = Path(__file__).parents[3]
FUNCTIONS = ("auth", "download", "serve", "status")
# What Secrets would hold, where the form matters: nothing of it answers.
SECRETS = {
    **ENVIRONMENT,
    "TORPOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    "TORPOR_S3_ENDPOINT": "http://127.0.0.1:9",
    "TORPOR_S3_BUCKET": "models",
    "TORPOR_S3_ACCESS_KEY": "a",
    "TORPOR_S3_SECRET_KEY": "b",
}
# A cold machine imports for seconds.
ANSWERS_WITHIN_S = 60.0

pytestmark = pytest.mark.skipif(bool(container.missing()), reason=f"a container {container.missing()}")


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The tree of functions/Dockerfile."""
    return dockerfile.build(ROOT / "functions" / "Dockerfile", ROOT, tmp_path_factory.mktemp("functions"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, functions: Image) -> Image:
    """The tree of the engine's Dockerfile; what vLLM's image would bring, the functions' packages stand in for."""
    built = dockerfile.build(
        ROOT / "functions" / "serve" / "engine" / "Dockerfile", ROOT, tmp_path_factory.mktemp("engine")
    )
    shutil.copytree(functions.root / "packages", built.root / "vllm")
    built.environment["PYTHONPATH"] += ":/vllm"
    return built


def pod(name: str) -> Any:
    """The one container of a function's manifest, or of the setup Job."""
    file = "setup/job" if name == "setup" else f"{name}/service"
    manifest = yaml.safe_load((ROOT / "knative" / "base" / f"{file}.yaml").read_text(encoding="utf-8"))
    return manifest["spec"]["template"]["spec"]["containers"][0]


def variables(name: str) -> dict[str, str]:
    """What the manifest says by itself, and a word for each key of a Secret that has to be there."""
    plain = {each["name"]: each["value"] for each in pod(name)["env"] if "value" in each}
    references = {each["name"]: each.get("valueFrom", {}).get("secretKeyRef", {}) for each in pod(name)["env"]}
    secret = {key: "secret" for key, reference in references.items() if reference and not reference.get("optional")}
    return {**plain, **secret, **SECRETS, "TORPOR_SIGNING_KEYS": json.dumps(generate())}


@contextmanager
def running(image: Image, command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """The command as a pod's container, on the port that is yielded; ended with the block."""
    (port,) = ports.free(1)
    process = container.start(image, command, {**environment, "PORT": str(port), "HOST": "127.0.0.1"}, log)
    try:
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while not _listens(port):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    try:
        get(port, "/")
    except OSError:
        return False
    return True


def get(port: int, path: str) -> int:
    """The status of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def finished(image: Image, command: list[str], environment: Mapping[str, str], log: Path) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    process = container.start(image, command, environment, log)
    return process.wait(ANSWERS_WITHIN_S), log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_starts_from_the_image(functions: Image, name: str, tmp_path: Path) -> None:
    """Its manifest's command answers /healthz; /readyz reaches as far as the database that is not there."""
    with running(functions, pod(name)["command"], variables(name), tmp_path / "log") as port:
        answers = get(port, "/healthz"), get(port, "/readyz")
    assert (200, 503) == answers, (tmp_path / "log").read_text(encoding="utf-8")


def test_the_setup_job_starts_from_the_image(functions: Image, tmp_path: Path) -> None:
    """It gets as far as the database, and says in one line that nothing answers there."""
    code, said = finished(functions, pod("setup")["command"], variables("setup"), tmp_path / "log")
    assert (1, True) == (code, said.splitlines()[-1].startswith("setup: ")), said


def test_the_image_holds_the_migrations(functions: Image) -> None:
    """All of them, where the setup Job looks."""
    held = sorted(path.name for path in (functions.root / "app" / "knative" / "migrations").iterdir())
    assert held == sorted(path.name for path in (ROOT / "knative" / "migrations").iterdir())


def test_the_image_holds_no_more_than_it_runs(functions: Image) -> None:
    """No laptop runtime, no tests, no history: what is not there cannot be misused."""
    assert {"app", "packages"} <= {path.name for path in functions.root.iterdir()}
    assert {"functions", "knative"} == {path.name for path in (functions.root / "app").iterdir()}
    assert {"migrations"} == {path.name for path in (functions.root / "app" / "knative").iterdir()}


def test_bytecode_is_in_the_image(functions: Image) -> None:
    """A read-only root cannot keep what the first start compiles, so every start would."""
    app = functions.root / "app" / "functions" / "kit"
    assert {path.stem for path in app.glob("*.py")} == {
        path.name.split(".")[0] for path in app.glob("__pycache__/*.pyc")
    }


def test_the_engine_starts_as_far_as_vllm(engine: Image, tmp_path: Path) -> None:
    """Its command imports all of ours, reads its settings and misses nothing but what vLLM's image brings."""
    environment = {
        **SECRETS,
        "TORPOR_SERVER_NAME": "s",
        "TORPOR_MODEL_NAME": "m",
        "TORPOR_MODEL_UUID": "u",
        "TORPOR_JWKS_URL": "http://127.0.0.1:9",
        "TORPOR_VERIFY_URL": "http://127.0.0.1:9",
    }
    code, said = finished(engine, list(engine.command), environment, tmp_path / "log")
    absent = re.search(r"does not start: (\w+) is not installed", said)
    assert (1, True) == (code, absent is not None and absent[1] in {"vllm", "uvloop"}), said


def test_the_stub_engine_answers_from_the_image(engine: Image, tmp_path: Path) -> None:
    """Everything around vLLM (edge, usage, keys) runs from the engine's files, as the pod's user."""
    environment = {
        **SECRETS,
        "TORPOR_SERVER_NAME": "s",
        "TORPOR_MODEL_NAME": "m",
        "TORPOR_JWKS_URL": "http://127.0.0.1:9",
        "TORPOR_VERIFY_URL": "http://127.0.0.1:9",
    }
    command = ["python", "-m", "functions.serve.engine.stub"]
    with running(engine, command, environment, tmp_path / "log") as port:
        assert 200 == get(port, "/health")


def test_a_container_is_what_it_says(functions: Image, tmp_path: Path) -> None:
    """The check above means something: uid 65532, nothing but /tmp writable, no shell."""
    code = (
        "import os, pathlib, shutil; print(os.getuid(), os.access('/app', os.W_OK), os.access('/packages', os.W_OK), "
        "os.access('/tmp', os.W_OK), shutil.which('sh'), pathlib.Path('/bin').exists())"
    )
    assert (0, "65532 False False True None False\n") == finished(
        functions, ["python", "-c", code], {}, tmp_path / "log"
    )
