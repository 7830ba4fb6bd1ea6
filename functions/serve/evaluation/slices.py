"""A slice of questions to one candidate: a few prompts, bounded in time, each with what became of it. Called by `driver`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from functions.kit.problem import Retry
from functions.serve.asking import AnswerTooLarge, Asker
from functions.serve.evaluation import pattern, scoring
from functions.serve.evaluation.requests import Prompt
from functions.serve.evaluation.scoring import Result

# One answer of a model that is awake; 64 tokens of a slow one.
ASK_S: Final = 60.0
# After this no further prompt is begun: a handler finishes in seconds.
SLICE_S: Final = 8.0
# Of an answer that is searched with a regex.
_SEARCHED: Final = 16_384
# Woken, full, or on its way: no answer yet.
_NOT_YET: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Questioner:
    """host, server: whom to ask, and by which name. subject: whose usage it is."""

    asker: Asker
    host: str
    server: str
    subject: str

    async def ask(self, prompts: Sequence[Prompt]) -> list[Result]:
        """What became of the first of these prompts: as many as time allows, none where nobody answers yet."""
        begun, results = time.monotonic(), list[Result]()
        for prompt in prompts:
            result = await self._one(prompt)
            if result is None:
                break
            results.append(result)
            if time.monotonic() - begun > SLICE_S:
                break
        return results

    async def _one(self, prompt: Prompt) -> Result | None:
        """None when there was no answer yet."""
        body, begun = prompt.body(self.server), time.monotonic()
        try:
            came = await self.asker.ask(self.host, prompt.path, body, subject=self.subject, timeout_s=ASK_S)
        except Retry:
            return None
        except AnswerTooLarge as problem:
            return scoring.unanswered(problem.status, problem.detail.encode(), _since(begun))
        if came.status in _NOT_YET:
            return None
        taken, text = _since(begun), scoring.text_of(came.status, came.body)
        if text is None:
            return scoring.unanswered(came.status, came.body, taken)
        wanted = prompt.expect.regex
        matches = None if wanted is None else await pattern.found(wanted, text[:_SEARCHED])
        return scoring.judged(text, prompt.expect, matches=matches, latency_ms=taken)


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
