"""The bodies that the API of `download` takes."""

from typing import Annotated, Any

import msgspec

# A name becomes a column, a label and part of an address.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
# Q4_K_M, IQ2_XS, BF16, or what a quant service calls its own.
Level = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]
Patterns = Annotated[list[Pattern], msgspec.Meta(max_length=64)]


class CollectRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /models/gc`. now: what nobody refers to goes at once, without the grace period."""

    dry_run: bool = False
    now: bool = False


class PullRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /models`. serve: true, false, or the body of `POST /serve` without the model."""

    source: str
    name: Name | None = None
    include: Patterns = []
    exclude: Patterns = []
    quant_level: Level | None = None
    runtime: str | None = None
    serve: bool | dict[str, Any] = True

    @property
    def serve_request(self) -> dict[str, Any] | None:
        """What is stored for the serve function: None serves nothing."""
        if self.serve is False:
            return None
        asked = self.serve if isinstance(self.serve, dict) else {}
        return asked if self.runtime is None else {"runtime": self.runtime, **asked}
