"""Counts tokens from what the engine answers, without buffering a stream or touching its bytes. Pure.

The engine puts running totals into every chunk of a stream (`--enable-force-include-usage`), so the last chunk that
was sent says what the caller got, also when they left in the middle.
"""

from collections import deque
from typing import Any, Final

import msgspec

# A chunk is one message; the totals are in the last before `[DONE]`, which may come alone. Two more for comfort.
_TAIL: Final = 4
_DATA: Final = b"data: "


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Choice(msgspec.Struct):
    index: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    error: Any = None
    choices: list[_Choice] = []


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class Meter:
    """What one answer used. Feed it the messages as they are sent; ask at the end."""

    def __init__(self, *, streamed: bool, choices: int = 1) -> None:
        self._streamed = streamed
        # A stream of several choices counts each apart until its last chunk, and they end at different times.
        self._by_choice: dict[int, int] | None = {} if streamed and choices > 1 else None
        self._parts: deque[bytes] = deque(maxlen=_TAIL if streamed else None)

    def feed(self, part: bytes) -> None:
        """One message of the answer's body. Keeps a reference, copies nothing."""
        self._parts.append(part)
        if self._by_choice is not None:
            self._by_choice |= _completions(part)

    def failed(self) -> bool:
        """Whether a stream ended with an error: its status had been sent by then, as 200."""
        return self._streamed and any(answer.error is not None for answer in _chunks(b"".join(self._parts)))

    def tokens(self) -> tuple[int, int]:
        """(prompt, completion) tokens; zeros when the engine had not counted anything yet."""
        body = b"".join(self._parts)
        answers = _chunks(body) if self._streamed else _whole(body)
        counted = [answer for answer in answers if answer.usage is not None]
        if not counted:
            return 0, 0
        last = counted[-1]
        prompt = last.usage.prompt_tokens if last.usage else 0
        # The stream's last chunk has no choices and the sum over them; without it the caller left early.
        if last.choices and self._by_choice:
            return prompt, sum(self._by_choice.values())
        return prompt, _completion(last)


def _completion(answer: _Answer) -> int:
    return (answer.usage.completion_tokens or 0) if answer.usage else 0


def _completions(part: bytes) -> dict[int, int]:
    """Completion tokens by choice in a part of a stream."""
    counted = (answer for answer in _chunks(part) if answer.usage is not None)
    return {choice.index: _completion(answer) for answer in counted for choice in answer.choices}


def _whole(body: bytes) -> list[_Answer]:
    try:
        return [_ANSWER.decode(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def _chunks(body: bytes) -> list[_Answer]:
    lines = (line[len(_DATA) :] for line in body.split(b"\n") if line.startswith(_DATA + b"{"))
    return [answer for line in lines for answer in _whole(line)]
