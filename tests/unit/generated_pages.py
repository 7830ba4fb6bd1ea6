"""The pages of docs/ that are made from the code: `python -m tests.unit.generated_pages` writes them, a test compares.

states.md from the tables of transitions, settings.md from the settings' fields, api.md from routes and event classes.
"""

import dataclasses
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

from starlette.applications import Starlette
from starlette.routing import Route

from functions.auth.settings import SetupSettings
from functions.auth.signing import generate
from functions.download.states import FILE, MODEL
from functions.kit import events
from functions.kit.settings import Secret, load
from functions.kit.states import Machine
from functions.serve.engine.settings import EngineSettings
from functions.serve.evaluation.states import CANDIDATE, EVALUATION
from functions.serve.inference.states import INFERENCE
from functions.serve.rollout.states import ROLLOUT
from functions.serve.states import SERVER
from tests.deliveries import ENVIRONMENT

DOCS: Final = Path(__file__).parents[2] / "docs"
FUNCTIONS: Final = ("auth", "download", "serve", "status")
MACHINES: Final[tuple[Machine[Any, Any], ...]] = (MODEL, FILE, SERVER, ROLLOUT, INFERENCE, EVALUATION, CANDIDATE)
_ENVIRONMENT: Final = {
    **dict.fromkeys(
        (
            "TORPOR_DATABASE_URL",
            "TORPOR_S3_ENDPOINT",
            "TORPOR_S3_BUCKET",
            "TORPOR_S3_ACCESS_KEY",
            "TORPOR_S3_SECRET_KEY",
            "TORPOR_INFERENCE_KEY",
        ),
        "x",
    ),
    **ENVIRONMENT,
    "TORPOR_SIGNING_KEYS": json.dumps(generate()),
}


def pages() -> Mapping[str, str]:
    """File name to text."""
    return {"states.md": _states(), "settings.md": _settings(), "api.md": _api()}


def _states() -> str:
    intro = (
        "# States\n\nMade from the tables in the code: an arrow that is not here cannot happen. An event that would need one is "
        "acknowledged,\nchanges nothing and leaves a row in the table `event_log`, which is kept for 30 days.\n\n"
    )
    return intro + "\n".join(_diagram(machine) for machine in MACHINES)


def _diagram(machine: Machine[Any, Any]) -> str:
    back = [f"- {cause}: {reason}" for cause, reason in machine.back.items()]
    lines = [
        f"## {machine.title}",
        "",
        "```mermaid",
        machine.mermaid(),
        "```",
        "",
        *(["Lead back on purpose:", "", *back, ""] if back else []),
    ]
    return "\n".join(lines)


def _settings() -> str:
    classes = {name: _settings_of(name) for name in FUNCTIONS}
    classes |= {"the setup Job": SetupSettings, "the engine (serve sets these)": EngineSettings}
    tables = [f"## {name}\n\n{_table(cls)}\n" for name, cls in classes.items()]
    intro = (
        "# Settings\n\nMade from the code. Later wins: the default, the TOML file named by `TORPOR_CONFIG` (the same names as "
        "keys), the environment. A setting without a default must be given; start-up fails naming it.\n\n"
    )
    return intro + "\n".join(tables)


def _settings_of(function: str) -> Any:
    return get_type_hints(importlib.import_module(f"functions.{function}.app").build)["settings"]


def _table(cls: Any) -> str:
    rows = [_row(field) for field in dataclasses.fields(cls)]
    return "\n".join(["| variable | default | unit | what it decides |", "| --- | --- | --- | --- |", *rows])


def _row(field: "dataclasses.Field[Any]") -> str:
    default = "must be given" if field.default is dataclasses.MISSING else f"`{_shown(field.default)}`"
    about = field.metadata
    return f"| `{about['env']}` | {default} | {about['unit']} | {about['why'].replace('|', chr(92) + '|')} |"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or " "
    return (value.reveal() if isinstance(value, Secret) else str(value)) or " "


def _api() -> str:
    routes = [
        f"| `{method}` | `{path}` | {name} | {what} |" for name in FUNCTIONS for method, path, what in _routes(name)
    ]
    kinds = [f"| `{kind.TYPE}` | {(kind.__doc__ or '').splitlines()[0]} |" for kind in events.ALL]
    return "\n".join(
        [
            "# Routes and events\n",
            "Made from the code. Bodies are JSON; errors are `application/problem+json`. Every function also answers",
            "`GET /healthz` (alive) and `GET /readyz` (its dependencies answer).\n",
            "| method | path | function | |",
            "| --- | --- | --- | --- |",
            *routes,
            "\nA model's own routes are below `/m/<server>/v1`: OpenAI's `models`, `chat/completions`, `completions`, `embeddings`.\n",
            "| event | what happened |",
            "| --- | --- |",
            *kinds,
            f"| `{events.TICK}` | a minute has passed (PingSource) |",
            *(f"| `{name}` | an object of the cluster changed (ApiServerSource) |" for name in events.RESOURCE_CHANGES),
            *(f"| `{name}` | a ModelServe resource changed (ApiServerSource) |" for name in events.REFERENCE_CHANGES),
            "",
        ]
    )


def _routes(function: str) -> Iterator[tuple[str, str, str]]:
    build = importlib.import_module(f"functions.{function}.app").build
    app: Starlette = build(load(_settings_of(function), _ENVIRONMENT))
    for route in app.routes:
        if isinstance(route, Route) and route.path not in {"/healthz", "/readyz"}:
            methods = sorted((route.methods or {"any"}) - {"HEAD"})
            yield "`, `".join(methods), route.path, _about(route.endpoint)


def _about(endpoint: Any) -> str:
    line = (inspect.getdoc(endpoint) or "").splitlines()[0]
    return re.sub(r"^[A-Z]+ /[^:]*: ", "", line)


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
