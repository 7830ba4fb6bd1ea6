"""The Dockerfiles and their requirements agree with the manifests, the Taskfile and the code that they carry."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.integration.images.dockerfile import Ignored, Step, steps

ROOT = Path(__file__).parents[2]
FILES = {
    "functions": ROOT / "functions" / "Dockerfile",
    "engine": ROOT / "functions" / "serve" / "engine" / "Dockerfile",
}
# Distribution -> what is imported of it, where the names differ.
IMPORTED_AS = {"pyjwt": "jwt", "python-dateutil": "dateutil", "opentelemetry-api": "opentelemetry"}


def dockerfile(name: str) -> list[Step]:
    """The instructions of a Dockerfile."""
    return steps(FILES[name].read_text(encoding="utf-8"))


def pins(name: str) -> dict[str, str]:
    """Distribution -> version, of a file of requirements/."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[a-z]+\])?==([^\s\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_the_last_stage_is_what_pods_expect(name: str) -> None:
    """The user 65532, a command in exec form, and after the files nothing that a shell would have to run."""
    last = dockerfile(name)
    last = last[max(index for index, step in enumerate(last) if step.word == "FROM") :]
    assert ["65532:65532"] == [step.rest for step in last if step.word == "USER"]
    assert all(step.command or step.rest == "[]" for step in last if step.word in ("RUN", "CMD", "ENTRYPOINT"))


@pytest.mark.parametrize("name", FILES)
def test_base_images_are_named_by_version(name: str) -> None:
    """Never `latest`, and always replaceable by a digest."""
    images = [step.rest.split("=", 1)[1] for step in dockerfile(name) if step.word == "ARG" and ":" in step.rest]
    assert images
    assert [] == [image for image in images if not re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[a-z.-]*", image)]
    bases = {step.rest.partition(" AS ")[0] for step in dockerfile(name) if step.word == "FROM"}
    assert bases <= {"${PYTHON}", "${VLLM}"}


def test_what_is_installed_is_what_was_tested() -> None:
    """Both images carry the same version of a package, and the CPU build of vLLM is the Taskfile's."""
    functions, engine = pins("functions.txt"), pins("engine.txt")
    assert engine.items() <= functions.items()
    (install,) = [step.rest for step in dockerfile("engine") if step.word == "RUN" and "torch" in step.rest]
    taskfile = (ROOT / "Taskfile.yml").read_text(encoding="utf-8")
    for variable in ("TORCH", "VLLM_CPU"):
        found = re.search(rf"^  {variable}: (\S+)", taskfile, re.MULTILINE)
        assert found is not None
        assert found[1] in install


def test_every_direct_dependency_is_pinned() -> None:
    """pyproject.toml's list, in the functions' image."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    wanted = set(re.findall(r'^ +"([a-z0-9-]+)', listed, re.MULTILINE))
    assert wanted
    assert wanted <= pins("functions.txt").keys()


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def closure(start: str) -> tuple[set[Path], set[str]]:
    """Our files that `start` leads to, and the top-level names of everybody else's that they import."""
    todo, seen, foreign = [start], set[Path](), set[str]()
    while todo:
        parts = todo.pop().split(".")
        if parts[0] != "functions":
            foreign.add(parts[0])
            continue
        for length in range(len(parts), 1, -1):
            path = ROOT.joinpath(*parts[:length]).with_suffix(".py")
            if path.is_file() and path not in seen:
                seen.add(path)
                todo += imports(path)
    return seen, foreign - set(sys.stdlib_module_names)


def test_the_engine_imports_what_its_image_has() -> None:
    """Beside vLLM's own packages, the ones of requirements/engine.txt are all that our code needs."""
    files, foreign = closure("functions.serve.engine.__main__")
    # Imported by name at run time.
    more, further = closure("functions.serve.engine.server")
    vllm = {"vllm", "torch", *(name.lower().replace("-", "_") for name in pins("engine-cpu.txt"))}
    ours = {IMPORTED_AS.get(name, name) for name in pins("engine.txt")}
    assert len(files | more) > 10
    assert foreign | further <= vllm | ours | {"opentelemetry"}


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        (".git/config", True),
        (".venv/bin/python", True),
        (".torpor/kubeconfig", True),
        ("tests/unit/test_app.py", True),
        ("functions/kit/__pycache__/app.cpython-311.pyc", True),
        ("functions/Dockerfile", True),
        ("knative/base/configmap.yaml", True),
        ("functions/kit/app.py", False),
        ("functions/serve/runtimes/vllm.yaml", False),
        ("knative/migrations/0001_initial.sql", False),
        ("requirements/functions.txt", False),
    ],
)
def test_the_build_context_is_what_images_take(path: str, *, ignored: bool) -> None:
    """Secrets and history cannot get into an image by accident, and nothing that runs is left out."""
    assert ignored is Ignored.of(ROOT).has(PurePosixPath(path))
