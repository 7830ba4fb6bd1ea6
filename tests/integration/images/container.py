"""An image's file tree run as a pod would: its own root, read-only, uid 65532, /tmp alone writable, and no shell in it.

`start` runs this file again in a mount namespace, where `main` mounts, changes root and user, and becomes the command.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.integration.images.dockerfile import Image

UID: Final = 65532
# What a base image would bring: the interpreter where the official image has it, the C library, certificates, devices.
BASE: Final = {
    sys.base_prefix: "usr/local",
    "/usr/lib": "usr/lib",
    "/usr/lib64": "usr/lib64",
    "/etc/ssl": "etc/ssl",
    "/dev": "dev",
    "/proc": "proc",
}
LINKS: Final = {"lib": "usr/lib", "lib64": "usr/lib64"}


def missing() -> str:
    """Why a container cannot be made here; empty where it can."""
    if os.geteuid() != 0:
        return "needs root, to change the user and the root directory"
    if absent := [name for name in ("unshare", "mount") if shutil.which(name) is None]:
        return f"needs {', '.join(absent)}"
    done = subprocess.run(["/usr/bin/env", "unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "mount namespaces are not allowed here"


def start(image: Image, command: Sequence[str], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """The command in the image's tree, with the image's and these variables alone; its output in `log`."""
    variables = {
        "PATH": "/usr/local/bin",
        # The base image's interpreter knows where its library lies; ours was built to lie elsewhere.
        "LD_LIBRARY_PATH": "/usr/local/lib",
        **image.environment,
        **environment,
    }
    spec = {"root": str(image.root), "workdir": image.workdir, "command": list(command), "environment": variables}
    inside = [
        "/usr/bin/env",
        "unshare",
        "--mount",
        "--propagation",
        "private",
        sys.executable,
        "-m",
        __name__,
        json.dumps(spec),
    ]
    with log.open("wb") as output:
        return subprocess.Popen(inside, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def main(root: str, workdir: str, command: list[str], environment: Mapping[str, str]) -> None:
    """In the new mount namespace: nothing that is mounted here is seen outside, or stays."""
    for place in (*BASE.values(), "tmp"):
        Path(root, place).mkdir(parents=True, exist_ok=True)
    for link, target in LINKS.items():
        if not os.path.lexists(f"{root}/{link}"):
            Path(root, link).symlink_to(target)
    _mount("--bind", root, root)
    for source, place in BASE.items():
        _mount("--rbind", source, f"{root}/{place}")
        _mount("-o", "remount,bind,ro", f"{root}/{place}")
    _mount("-o", "remount,bind,ro", root)
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}/tmp")  # noqa: S108  # the pod's own
    os.chroot(root)
    os.chdir(workdir)
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    os.execvpe(command[0], command, environment)  # noqa: S606  # no shell is the point


def _mount(*arguments: str) -> None:
    subprocess.run(["/usr/bin/env", "mount", *arguments], check=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
