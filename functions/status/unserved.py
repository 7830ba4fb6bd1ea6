"""What a model's address answers while no route of its own leads to the model: honestly, in OpenAI's shape.

The gateway's route for `/m` leads here and is less specific than the `/m/<name>` that serve makes once the model can be
reached. A server that Postgres knows is 503 with Retry-After and what it is at; nothing is 404 that is on its way.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from functions.kit import openai
from functions.kit.db import queries
from functions.kit.problem import Forbidden, NotFound, Problem, Unavailable
from functions.status.deps import Deps

SQL: Final = queries(str(Path(__file__)))
METHODS: Final = ["DELETE", "GET", "PATCH", "POST", "PUT"]
# A replica is made in seconds, an image pulled in more; clients that retry by themselves keep to this.
RETRY_S: Final = 5
# What failed waits for a person, or for the cluster to change its mind.
RETRY_FAILED_S: Final = 30
_UNAUTHORIZED: Final = 401


class NoSuchServer(NotFound):
    """No server has this name"""


class NotServing(Unavailable):
    """The server cannot be reached yet"""


class Unserved:
    """The endpoint behind `/m/<name>/...`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def answer(self, request: Request) -> Response:
        """503 with Retry-After and the phase while a server's model cannot be reached; 404 where there is no such server."""
        try:
            return _response(await self._why(request))
        except Problem as problem:
            return _response(problem)

    async def _why(self, request: Request) -> Problem:
        """Raises Unauthorized, Forbidden, and Retry for a database that does not answer."""
        who = await self._deps.verifier.identify(request.headers.get("authorization"))
        who.require("infer")
        name = request.path_params["name"]
        row = await self._deps.db.fetchrow(SQL.find_server, name)
        if row is None or row["service_name"] != name or row["status"] == "deleted":
            return NoSuchServer(f"no server is named {name[:63]!r}; GET /status lists those that are here")
        if not (who.allows_model(name) or who.allows_model(row["model_name"])):
            return Forbidden(f"this credential does not cover the model {row['model_name']}")
        return not_serving(row)


def not_serving(row: Mapping[str, Any]) -> NotServing:
    """A server's row as the answer to somebody who wanted its model."""
    phase = row["status"]
    after_s = RETRY_FAILED_S if phase == "failed" else RETRY_S
    why = f": {row['error']}" if row["error"] else ""
    hint = "an operator has to mend it" if phase == "failed" else f"try again in {after_s} s"
    detail = f"{row['service_name']} cannot be reached, it is {phase}{why}; {hint}"
    return NotServing(detail, headers={"Retry-After": str(after_s)}, phase=phase, reason=row["error"] or "")


def _response(problem: Problem) -> Response:
    code = "invalid_api_key" if problem.status == _UNAUTHORIZED else problem.slug.replace("-", "_")
    body = openai.error(problem.status, problem.detail or problem.title, code, **problem.members)
    return Response(body, problem.status, problem.headers, media_type="application/json")
