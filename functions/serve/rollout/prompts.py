"""The golden prompt: what a candidate is asked before it gets any traffic, and whether its answer will do. Pure.

Called by `driver`, which asks. The path is the first that the runtime lets through and the model understands: a
model without a chat template refuses a chat (400) and is asked to complete the prompt instead.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

# A sentence or two.
_TOKENS: Final = 64
# «!!!!!!!!» is what a model says whose numbers are broken.
_SAME_CHARACTER: Final = 8
_OK: Final = 200
# It does not understand this kind of question; ask another way.
_NOT_THIS_WAY: Final = 400
# Woken, full, or on its way: no answer yet.
_NOT_YET: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Question:
    """A path and the JSON body to post there."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """ok: it answered as it should; None when nothing was answered yet. why: for people."""

    ok: bool | None
    why: str


def questions(paths: Collection[str], name: str, prompt: str) -> Sequence[Question]:
    """The ways to ask, best first. paths: what the runtime lets through. name: of the server."""
    asked: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": prompt}], "max_tokens": _TOKENS},
        "/v1/completions": {"prompt": prompt, "max_tokens": _TOKENS},
        "/v1/embeddings": {"input": prompt},
    }
    same = {"model": name, "temperature": 0}
    return [
        Question(path, msgspec.json.encode({**body, **(same if "input" not in body else {"model": name})}))
        for path, body in asked.items()
        if path in paths
    ]


def understood(status: int) -> bool:
    """Whether this was a way to ask."""
    return status != _NOT_THIS_WAY


def judge(status: int, body: bytes, expect: str) -> Proof:
    """What an answer proves."""
    if status in _NOT_YET:
        return Proof(None, f"its prompt was answered with {status}; it is asked again")
    if status != _OK:
        return Proof(ok=False, why=f"its prompt was answered with {status}: {_shown(body)}")
    try:
        said = _said(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return Proof(ok=False, why=f"its prompt was answered with something else than an answer: {_shown(body)}")
    return _judged(said, expect)


def _said(answer: Any) -> str | list[float]:
    if "choices" in answer:
        choice = answer["choices"][0]
        return str(choice["message"]["content"] or "") if "message" in choice else str(choice["text"])
    return [float(number) for number in answer["data"][0]["embedding"]]


def _judged(said: str | list[float], expect: str) -> Proof:
    if isinstance(said, list):
        sound = bool(said) and all(map(math.isfinite, said)) and any(said)
        return Proof(sound, "it made a vector of its prompt" if sound else "its vector is empty, zero or not finite")
    text = said.strip()
    if not text or (len(set(text)) == 1 and len(text) >= _SAME_CHARACTER):
        return Proof(ok=False, why=f"it answered its prompt with {text[:40]!r}")
    if expect.lower() not in text.lower():
        return Proof(ok=False, why=f"its answer does not contain {expect[:80]!r}: {text[:200]!r}")
    return Proof(ok=True, why=f"it answered its prompt: {text[:200]!r}")


def _shown(body: bytes) -> str:
    """Without the one character that PostgreSQL's text does not hold."""
    return body[:200].decode(errors="replace").replace("\x00", "")
