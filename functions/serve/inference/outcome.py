"""What an answer means for a request: done, refused by the model itself, or to be asked again. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from functions.serve.asking import Answer

# After the first failure, doubled each time up to the cap, so that a model that restarts (half a minute) is met again.
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 60.0
# What an engine says of the request itself, in OpenAI's shape. 401 and 403 are about serve's own key, 404 also of a route
# that is being made, 408, 409, 425 and 429 about the moment.
_REFUSALS: Final = frozenset({400, 404, 405, 413, 415, 422})
_OK: Final = range(200, 300)
# Of a front door, or of one of our functions; it may carry OpenAI's shape as well, for the clients that wait there.
_PROBLEM: Final = "application/problem+json"
# A sentence or two; an engine's error can quote the whole prompt.
MAX_ERROR: Final = 1000


@dataclass(frozen=True, slots=True)
class Answered:
    """The model has answered."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The model says that it can never answer this; status is what it said it with."""

    status: int
    error: str


@dataclass(frozen=True, slots=True)
class Later:
    """Nobody answered, or not now: status 0 for no answer at all."""

    status: int
    error: str


Outcome = Answered | Refused | Later


class _Error(msgspec.Struct):
    message: str


class _Shape(msgspec.Struct):
    error: _Error


def of(answer: Answer) -> Outcome:
    """Judge an answer. A refusal counts as the model's only in OpenAI's shape: ingresses answer 404 and 413 as well."""
    if answer.status in _OK:
        return Answered(answer.body)
    in_between = answer.headers.get("content-type", "").startswith(_PROBLEM)
    said = None if in_between else _said(answer.body)
    if said is not None and answer.status in _REFUSALS:
        return Refused(answer.status, said[:MAX_ERROR])
    return Later(answer.status, f"answered {answer.status}: {said or _words(answer.body)}"[:MAX_ERROR])


def wait_s(attempts: int, spread: Callable[[], float] = random.random) -> float:
    """Seconds before the next attempt: half of it fixed, half by chance, so that those who failed together part."""
    full = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** max(0, attempts - 1))
    return full / 2 + full / 2 * spread()


def _said(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Shape).error.message.replace("\x00", "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _words(body: bytes) -> str:
    """What somebody else answered: a problem's detail, or its beginning as it is."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = None
    detail = document.get("detail") if isinstance(document, dict) else None
    text = detail if isinstance(detail, str) else body[:200].decode(errors="replace")
    return text.replace("\x00", "")
