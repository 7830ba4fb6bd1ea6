"""A Dockerfile's file system without Docker: each stage's copies and its `python -m pip|compileall`, done in folders.

What needs a base image's own files (apt, links beside its interpreter) is left out and listed in `Image.left_out`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

# Modules whose runs in exec form change nothing outside the paths that they name.
RUNNABLE: Final = ("pip", "compileall")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word, its flags (`--from=x`) and the rest, in exec form where it was written so."""

    word: str
    flags: Mapping[str, str]
    rest: str

    @property
    def command(self) -> Sequence[str]:
        """The exec form. Empty where the instruction is in shell form."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else []


@dataclass(slots=True)
class Image:
    """A stage: its files under `root`, and what a container would be started with."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    command: Sequence[str] = ()
    left_out: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Where a path of the image lies."""
        return self.root / str(PurePosixPath(self.workdir, path)).lstrip("/")


def steps(text: str) -> list[Step]:
    """The instructions of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [_step(line) for line in joined.splitlines()]


def _step(line: str) -> Step:
    word, _, rest = line.partition(" ")
    flags = dict(re.findall(r"--([a-z]+)=(\S+)", rest)) if word in ("COPY", "FROM") else {}
    return Step(word, flags, re.sub(r"--[a-z]+=\S+\s*", "", rest).strip() if flags else rest.strip())


def build(dockerfile: Path, context: Path, folder: Path) -> Image:
    """The last stage, with the stages before it in folders of their own below `folder`."""
    stages: dict[str, Image] = {}
    image = Image(folder)
    for step in steps(dockerfile.read_text(encoding="utf-8")):
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            image = stages[name or "final"] = Image(folder / (name or "final"))
            image.root.mkdir(parents=True)
            image.left_out.append(f"FROM {base}")
        else:
            _apply(step, image, stages, context)
    return image


def _apply(step: Step, image: Image, stages: Mapping[str, Image], context: Path) -> None:
    if step.word == "COPY":
        *sources, target = step.rest.split()
        origin = stages[step.flags["from"]].root if "from" in step.flags else context
        ignored = Ignored.none() if "from" in step.flags else Ignored.of(context)
        for source in sources:
            _copy(origin, source.lstrip("/"), image.at(target), ignored, into=target.endswith("/"))
    elif step.word == "RUN":
        _run(step, image)
    elif step.word == "ENV":
        image.environment |= dict(pair.split("=", 1) for pair in step.rest.split())
    elif step.word == "WORKDIR":
        image.workdir = step.rest
        image.at(".").mkdir(parents=True, exist_ok=True)
    elif step.word == "USER":
        image.user = step.rest
    elif step.word == "CMD":
        image.command = step.command


def _run(step: Step, image: Image) -> None:
    command = step.command
    if command[1:2] != ["-m"] or command[2] not in RUNNABLE:
        image.left_out.append(f"RUN {step.rest}")
        return
    here = [str(image.at(word)) if word.startswith("/") else word for word in command[1:]]
    # pip's cache is ours to use; what it installs is decided by the hashes.
    environment = {name: value for name, value in image.environment.items() if name != "PIP_NO_CACHE_DIR"}
    subprocess.run(
        [sys.executable, *here], cwd=image.at("."), env={**os.environ, **environment}, check=True, capture_output=True
    )


@dataclass(frozen=True, slots=True)
class Ignored:
    """`.dockerignore`: later patterns win, `!` takes back, a pattern holds for everything below what it names."""

    patterns: Sequence[str]

    @classmethod
    def of(cls, context: Path) -> "Ignored":
        """The context's own."""
        lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
        return cls([line for line in lines if line and not line.startswith("#")])

    @classmethod
    def none(cls) -> "Ignored":
        """Nothing: between stages."""
        return cls([])

    def has(self, path: PurePosixPath) -> bool:
        """Whether a file of the context, by its relative path, stays outside."""
        found = False
        for pattern in self.patterns:
            if _matches(pattern.removeprefix("!"), path):
                found = not pattern.startswith("!")
        return found


def _matches(pattern: str, path: PurePosixPath) -> bool:
    """A pattern with slashes names a place, `**/x` any folder, and both what lies below."""
    wanted = pattern.split("/")
    if wanted[0] == "**":
        return any(fnmatch(part, wanted[1]) for part in path.parts)
    return len(path.parts) >= len(wanted) and all(map(fnmatch, path.parts, wanted))


def _copy(origin: Path, source: str, target: Path, ignored: Ignored, *, into: bool) -> None:
    found = origin / source
    files = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
    for path in files:
        if ignored.has(PurePosixPath(path.relative_to(origin))):
            continue
        below = Path(path.name) if found.is_file() and into else path.relative_to(found)
        place = target / below if below.parts else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
