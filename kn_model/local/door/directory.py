"""Which revision answers for a service or tag right now: the front door's view of Knative Routes.

Written by `reconciler.py` after each reconciliation, read by `door/frontdoor.py` for every call, so it is ready-made and small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kn_model.local.door.proxy import Timeouts
from kn_model.local.door.routes import Share
from kn_model.local.serving.replicas import Replicas


@dataclass(frozen=True, slots=True)
class Live:
    """A revision that can take calls."""

    replicas: Replicas
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Entry:
    """What is behind one host label: a service's own traffic, or one tag."""

    service: str
    shares: Sequence[Share] = ()
    waiting_for: str = ""
    """Why nothing answers yet, for people."""
    failed: bool = False
    """Nothing will, until somebody changes something."""


@dataclass
class Directory:
    """All services and tags, by namespace and host label, and all revisions that run here."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    revisions: dict[tuple[str, str], Live] = field(default_factory=dict)

    def put(self, namespace: str, service: str, entries: Mapping[str, Entry]) -> None:
        """Replace all entries (host label to entry) of one service at once; none removes it."""
        old = [key for key, entry in self.entries.items() if key[0] == namespace and entry.service == service]
        for key in old:
            del self.entries[key]
        self.entries |= {(namespace, label): entry for label, entry in entries.items()}
