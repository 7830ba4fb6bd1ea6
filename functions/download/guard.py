"""The guard before sources: which addresses may be asked for a model."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from functions.download.problems import SourceRefused
from functions.kit.guard import Guard, Lookup, Purpose, system_lookup

SOURCES: Final = Purpose("source", "TORPOR_ALLOWED_SOURCE_HOSTS", partial(SourceRefused, "source-forbidden"))


def source_guard(allowed: Iterable[str] = (), lookup: Lookup = system_lookup) -> Guard:
    """The guard, with the hosts that the operator vouches for."""
    return Guard(SOURCES, allowed, lookup)
