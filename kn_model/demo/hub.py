"""Where the demo's model comes from: the hub, or where no hub answers, the small hub of this repository."""

import http.client
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from kn_model.demo.process import ended_with_us
from kn_model.failure import Failure
from kn_model.hub import smollm2
from kn_model.local import ports
from kn_model.waiting import Say

DEFAULT: Final = "https://huggingface.co"
# Whoever has no way to the hub should not wait for it.
ANSWERS_WITHIN_S: Final = 3.0
_STARTS_WITHIN_S: Final = 20.0


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """The hub that is asked first: HF_ENDPOINT, as for the hub's own clients."""
    return environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT


def answers(url: str, repository: str, within_s: float = ANSWERS_WITHIN_S) -> bool:
    """Whether the hub at `url` knows the repository, within `within_s` seconds in all, its name's look-up included."""
    found: list[bool] = []
    # A thread of its own, since nothing else bounds the look-up of a name.
    asking = threading.Thread(target=lambda: found.append(_asked(url, repository, within_s)), daemon=True)
    asking.start()
    asking.join(within_s)
    return found == [True]


def _asked(url: str, repository: str, timeout_s: float) -> bool:
    try:
        request = urllib.request.Request(f"{url}/api/models/{repository}")  # noqa: S310  # http(s) alone
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310  # likewise
            return bool(response.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException):
        return False


@contextmanager
def small_hub(folder: Path, say: Say) -> Iterator[str]:
    """The repository's own hub with SmolLM2, at the address that is yielded; it ends with the block."""
    root = smollm2.DEFAULT_ROOT
    smollm2.ensure(root, say=say)
    (port,) = ports.free(1)
    command = [sys.executable, "-m", "kn_model.hub", "--root", str(root), "--port", str(port)]
    url = f"http://{ports.LOOPBACK}:{port}"
    with ended_with_us(command, log=folder / "hub.log", env=os.environ) as process:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not answers(url, smollm2.REPOSITORY):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure("the small hub did not start", why=f"Its output is in {folder}/hub.log.")
            time.sleep(0.1)
        yield url
