"""The laptop runtime as the commands see it: its folder, whether it runs, and the administrator it generated.

The runtime keeps `runtime.json` (pid, url, kube_url, started_at) and a kubeconfig in its folder, `.torpor` in the
directory where it was started. The commands look upwards from the current directory, as git does.
"""

import base64
import json
import os
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
    """A runtime that was started in `folder`; it may have ended since."""

    folder: Path
    pid: int
    url: str

    def alive(self) -> bool:
        """Whether its process still exists."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


@dataclass(frozen=True, slots=True)
class Admin:
    """Name and password of the first administrator."""

    username: str
    password: str


def folder_of(environ: Mapping[str, str], start: Path) -> Path:
    """TORPOR_DIR, else the nearest `.torpor` at or above `start`, else the one that would be made there."""
    if given := environ.get("TORPOR_DIR", ""):
        return Path(given)
    for directory in (start, *start.parents):
        if (directory / FOLDER / "runtime.json").is_file():
            return directory / FOLDER
    return start / FOLDER


def read(folder: Path) -> Runtime | None:
    """The runtime of this folder, None when none was started there."""
    try:
        document = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
        return Runtime(folder, int(document["pid"]), str(document["url"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{folder}/runtime.json cannot be read", why=str(error), do="kn model down, then up.") from error


def running(folder: Path) -> Runtime:
    """The runtime of this folder. Raises Failure when it does not run."""
    runtime = read(folder)
    if runtime is None or not runtime.alive():
        raise Failure(
            "the laptop runtime is not running",
            why=f"Nothing runs in {folder}.",
            do="kn model up, or on a cluster: kn model login URL.",
            code=Exit.NOT_RUNNING,
        )
    return runtime


def admin(runtime: Runtime) -> Admin:
    """The generated administrator, read from its Secret with the runtime's kubeconfig. Raises Failure."""
    import httpx

    server, token, verify = _cluster(runtime.folder / "kubeconfig")
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{ADMIN_SECRET}"
    try:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = httpx.get(f"{server}{path}", headers=headers, verify=verify, trust_env=False)
        data = response.raise_for_status().json()["data"]
        return Admin(*(base64.b64decode(data[name]).decode() for name in ("username", "password")))
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Failure(
            f"the administrator's Secret {ADMIN_SECRET} cannot be read",
            why=str(error),
            do="Wait until kn model up says that it is ready, then log in again.",
        ) from error


def _cluster(kubeconfig: Path) -> tuple[str, str, ssl.SSLContext | bool]:
    """Server, token and trust of the only cluster and user in a kubeconfig."""
    import yaml

    try:
        document: Any = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        return cluster["server"].rstrip("/"), user.get("token", ""), _trust(cluster)
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise Failure(f"{kubeconfig} cannot be read", why=str(error), do="kn model down, then up.") from error


def _trust(cluster: Mapping[str, str]) -> ssl.SSLContext | bool:
    if authority := cluster.get("certificate-authority-data"):
        return ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    if authority := cluster.get("certificate-authority"):
        return ssl.create_default_context(cafile=authority)
    return True
