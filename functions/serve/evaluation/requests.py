"""What callers send to evaluate: the body of `POST /evaluations`, and the prompts, which S3 keeps. Unknown fields are refused."""

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from functions.kit.problem import Unprocessable
from functions.serve.requests import RolloutOptions, ServeOptions

PREFIX: Final = "evaluations/"
# A set of prompts is a test and no corpus; with the results it stays under what a row should hold.
MAX_PROMPTS: Final = 200
MAX_PROMPTS_BYTES: Final = 1_048_576
MAX_CANDIDATES: Final = 16
_Text = Annotated[str, Meta(min_length=1, max_length=32_768)]
_KEY: Final = re.compile(r"evaluations/[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\.json")


class BadPrompts(Unprocessable):
    """The prompts cannot be used"""


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a chat."""

    role: Annotated[str, Meta(pattern=r"^(system|user|assistant)$")]
    content: _Text


class Expect(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the answer has to be; one of the three.

    contains: a part of it, in any case. exact: all of it, but for space around it. regex: found somewhere in it.
    """

    contains: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    exact: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    regex: Annotated[str, Meta(min_length=1, max_length=512)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400."""
        if sum(given is not None for given in (self.contains, self.exact, self.regex)) != 1:
            raise ValueError("give one of contains, exact and regex")
        if "\x00" in (self.contains or self.exact or self.regex or ""):
            raise ValueError("what is expected cannot hold the character NUL")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except (re.error, OverflowError) as error:
                raise ValueError(f"the regex cannot be read: {error}") from error


class Prompt(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question: messages of a chat, or a prompt to complete. weight: how much a right answer counts."""

    expect: Expect
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=50)] | None = None
    prompt: _Text | None = None
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    max_tokens: Annotated[int, Meta(ge=1, le=1024)] = 64

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400."""
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give either messages or prompt")

    @property
    def path(self) -> str:
        """Where it is posted."""
        return "/v1/completions" if self.messages is None else "/v1/chat/completions"

    def body(self, server: str) -> bytes:
        """What is posted; temperature 0, so that the same model answers the same."""
        question: dict[str, Any] = {"messages": self.messages} if self.messages else {"prompt": self.prompt}
        return msgspec.json.encode({"model": server, "temperature": 0, "max_tokens": self.max_tokens, **question})


Prompts = Annotated[tuple[Prompt, ...], Meta(min_length=1, max_length=MAX_PROMPTS)]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class EvaluationRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /evaluations`.

    alias: the server that goes over to the winner; it is made if there is none. candidates: names or uuids of models,
    which may still be on their way. prompts: the set, or the key of one in S3 below `evaluations/`.
    deadline_s: how long candidates are waited for. min_score: what the winner needs, as a part of all weights.
    options: how the candidates are served, and the alias then; without them as the alias is now. rollout: how it goes over.
    """

    alias: Annotated[str, Meta(min_length=1, max_length=63)]
    candidates: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    prompts: Prompts | Annotated[str, Meta(max_length=512)]
    deadline_s: Annotated[int, Meta(ge=0, le=2_592_000)] = 86_400
    min_score: Annotated[float, Meta(gt=0, le=1)] = 0.5
    options: ServeOptions | None = None
    rollout: RolloutOptions = RolloutOptions()

    def __post_init__(self) -> None:
        """Raises ValueError, which becomes the caller's 400."""
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("a candidate is there twice")
        if self.options is not None and (self.options.name is not None or self.options.rollout is not None):
            raise ValueError("alias says the name, and rollout stands beside options")
        if isinstance(self.prompts, str) and not _KEY.fullmatch(self.prompts):
            raise ValueError(f"prompts is a list, or a key such as {PREFIX}capitals.json")

    def fingerprint(self, prompts: bytes) -> str:
        """The same alias and content again is the same evaluation; how long it waits is no part of that."""
        said = (self.alias, self.candidates, self.min_score, self.options, self.rollout)
        return hashlib.sha256(msgspec.json.encode(said) + prompts).hexdigest()


def prompts_key(uuid: str) -> str:
    """Where the prompts of an evaluation are in S3."""
    return f"{PREFIX}{uuid}/prompts.json"


def stored(prompts: Sequence[Prompt]) -> bytes:
    """As S3 keeps them."""
    return msgspec.json.encode(prompts)


def read(data: bytes) -> Sequence[Prompt]:
    """Prompts from S3. Raises BadPrompts."""
    try:
        return msgspec.json.decode(data, type=Prompts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadPrompts(f"the prompts in S3 cannot be read: {error}") from error
