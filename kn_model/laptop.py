"""The laptop runtime as the commands see it: its folder, whether it runs, and the administrator it generated.

The runtime keeps its files in a folder, `.torpor` in the directory where it was started. The commands look for it
upwards from the current directory, as git does.
"""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kn_model.failure import Exit, Failure

FOLDER: Final = ".torpor"
NAMESPACE: Final = "torpor"
# Where functions.auth.setup leaves the first administrator.
ADMIN_SECRET: Final = "torpor-admin"  # noqa: S105  # the Secret's name


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that runs in `folder` and answers at `url`."""

    folder: Path
    url: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to call a Kubernetes API: its address, the headers that authenticate, and what it is trusted by."""

    server: str
    headers: Mapping[str, str]
    verify: ssl.SSLContext | bool


@dataclass(frozen=True, slots=True)
class Admin:
    """Name and password of the first administrator."""

    username: str
    password: str


def folder_of(environ: Mapping[str, str], start: Path) -> Path:
    """TORPOR_DIR, else the nearest `.torpor` at or above `start`, else the one that would be made there."""
    if given := environ.get("TORPOR_DIR", ""):
        return Path(given).absolute()
    found = (directory / FOLDER for directory in (start, *start.parents) if (directory / FOLDER).is_dir())
    return next(found, start / FOLDER)


def running(folder: Path) -> Runtime:
    """The runtime of this folder. Raises Failure when it does not run, or not yet."""
    from kn_model.local import state

    if found := state.read(folder):
        return Runtime(folder.resolve(), found.url)
    if state.is_held(folder):
        raise Failure(
            "the laptop runtime is still starting",
            why=f"It runs in {folder} and is not ready yet.",
            do="Try again in a few seconds.",
            code=Exit.NOT_RUNNING,
        )
    raise Failure(
        "the laptop runtime is not running",
        why=f"Nothing runs in {folder}.",
        do="kn model up, or for a cluster: kn model login URL.",
        code=Exit.NOT_RUNNING,
    )


def admin(runtime: Runtime) -> Admin:
    """The generated administrator, read from its Secret with the runtime's kubeconfig. Raises Failure."""
    import httpx

    access = cluster(runtime.folder / "kubeconfig")
    url = f"{access.server}/api/v1/namespaces/{NAMESPACE}/secrets/{ADMIN_SECRET}"
    try:
        response = httpx.get(url, headers=access.headers, verify=access.verify, trust_env=False)
        data = response.raise_for_status().json()["data"]
        return Admin(*(base64.b64decode(data[name]).decode() for name in ("username", "password")))
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Failure(
            f"the administrator's Secret {ADMIN_SECRET} cannot be read",
            why=str(error),
            do="Wait until kn model up says that it is ready, then log in again.",
        ) from error


def cluster(kubeconfig: Path) -> Cluster:
    """Server, credentials and trust of the only cluster and user in a kubeconfig. Raises Failure."""
    import yaml

    try:
        document: Any = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        described, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        token = user.get("token", "")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return Cluster(described["server"].rstrip("/"), headers, _trust(described))
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise Failure(f"{kubeconfig} cannot be read", why=str(error), do="kn model down, then up.") from error


def _trust(described: Mapping[str, str]) -> ssl.SSLContext | bool:
    if authority := described.get("certificate-authority-data"):
        return ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    if authority := described.get("certificate-authority"):
        return ssl.create_default_context(cafile=authority)
    return True
