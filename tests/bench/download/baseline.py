"""The other side: `hf download`, then `aws s3 cp`, each set as its own documentation says, in an environment of their own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.download.processes import ROOT, Spent, run

# Made by `task bench:download`; what Torpor itself needs must not choose its versions.
PROGRAMS: Final = ROOT / ".venv-bench" / "bin"
# https://docs.aws.amazon.com/cli/latest/topic/s3-config.html: more requests at once and larger parts for large files. Over
# http it would hash every body for its signature, which ours leaves out as well: CRC32 vouches for both.
CONFIG: Final = """[default]
region = us-east-1
s3 =
    max_concurrent_requests = 20
    multipart_chunksize = 16MB
    addressing_style = path
    payload_signing_enabled = false
"""


def versions() -> str:
    """What is compared with."""
    hf = subprocess.run(
        [PROGRAMS / "python", "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wanted = ("huggingface_hub==", "hf-xet==", "hf_xet==", "awscli==", "botocore==")
    return ", ".join(line.replace("==", " ") for line in hf if line.startswith(wanted))


def fetch(hub: str, folder: Path) -> Spent:
    """`hf download` of the whole repository. A hub without Xet serves plain HTTP, one connection a file."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HF_HOME": str(folder / "cache"),
        "HF_ENDPOINT": hub,
        # The documentation's advice for a fast line; and nothing that only draws.
        "HF_XET_HIGH_PERFORMANCE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return _timed([str(PROGRAMS / "hf"), "download", "acme/model", "--local-dir", str(folder / "model")], environment)


def store(folder: Path, credentials: Mapping[str, str]) -> Spent:
    """`aws s3 cp` of what was fetched."""
    (folder / "config").write_text(CONFIG)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_ACCESS_KEY_ID": credentials["access_key"],
        "AWS_SECRET_ACCESS_KEY": credentials["secret_key"],
    }
    where = ["--endpoint-url", credentials["endpoint"], "--no-progress", "--exclude", ".cache/*"]
    target = f"s3://{credentials['bucket']}/baseline/"
    return _timed(
        [str(PROGRAMS / "aws"), "s3", "cp", str(folder / "model"), target, "--recursive", *where], environment
    )


def forget(folder: Path) -> None:
    """Nothing of this round helps the next one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _timed(command: Sequence[str], environment: Mapping[str, str]) -> Spent:
    started = time.monotonic()
    cpu_s = run(command, environment)
    return Spent(time.monotonic() - started, cpu_s)


def missing() -> str:
    """What to do when the programs are not there; empty when they are."""
    there = all((PROGRAMS / name).exists() for name in ("hf", "aws"))
    return "" if there else f"{PROGRAMS} has no hf and aws: run `task bench:download`, or\n  {install()}\n"


def install() -> str:
    """The command that makes their environment."""
    folder = PROGRAMS.parent.name
    return f"{Path(sys.executable).name} -m venv {folder} && {folder}/bin/pip install huggingface_hub hf-xet awscli"
