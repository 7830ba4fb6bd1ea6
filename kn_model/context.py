"""Where Torpor is and who calls: the saved logins, and the environment variables that override them.

`login` writes `$XDG_CONFIG_HOME/torpor/config.json` (0600): the current URL and a token per URL. TORPOR_URL and
TORPOR_TOKEN win over the file, for scripts and CI.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kn_model.failure import Exit, Failure


@dataclass(frozen=True, slots=True)
class Context:
    """One place to talk to. runtime: the laptop runtime's folder where the token came from, else empty."""

    url: str
    token: str = ""
    username: str = ""
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """The content of the file: the URL in use, and every login by URL."""

    current: str
    contexts: Mapping[str, Context]


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the logins are kept (XDG base directory specification 0.8: a relative path counts as unset)."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "torpor" / "config.json"


def load(path: Path) -> Saved:
    """The saved logins. Raises Failure for a file that is not ours."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        contexts = {url: Context(**entry) for url, entry in document["contexts"].items()}
        return Saved(document["current"], contexts)
    except FileNotFoundError:
        return Saved("", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"the file of saved logins cannot be read: {path}", why=str(error), do="Delete it and log in again."
        ) from error


def save(path: Path, context: Context) -> None:
    """Keep a login and make it the current one. The file appears whole, readable by its owner alone."""
    saved = load(path)
    contexts = {**saved.contexts, context.url: context}
    document = {"current": context.url, "contexts": {url: asdict(entry) for url, entry in contexts.items()}}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
    scratch.replace(path)


def resolve(environ: Mapping[str, str], saved: Saved) -> Context:
    """The place in use. Raises Failure when nobody has said where it is or who calls."""
    url = environ.get("TORPOR_URL", "").rstrip("/") or saved.current
    if not url:
        raise Failure(
            "not logged in",
            why="No login is saved and TORPOR_URL is not set.",
            do="On this machine: kn model up, then kn model login. Elsewhere: kn model login URL.",
            code=Exit.NOT_LOGGED_IN,
        )
    context = saved.contexts.get(url, Context(url))
    if token := environ.get("TORPOR_TOKEN", ""):
        context = replace(context, token=token, runtime="")
    if not context.token:
        raise Failure(
            f"not logged in at {url}",
            why="There is no token for it.",
            do=f"kn model login {url}, or set TORPOR_TOKEN.",
            code=Exit.NOT_LOGGED_IN,
        )
    return context
