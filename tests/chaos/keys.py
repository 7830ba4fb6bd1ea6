"""API keys: made and revoked by one person, and asked about at the end."""

import random
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.api import Api

# A user may have 100; the rest is room for keys whose answer was lost.
LIVE_AT_MOST: Final = 30
REVOKED: Final = 0.8


@dataclass(slots=True)
class Key:
    """One accepted key. lost: how many more of its name may exist, whose answers nobody saw."""

    name: str
    id: str
    text: str
    lost: int
    revoked: bool = False


@dataclass
class Keys:
    """One person's keys."""

    api: Api
    seed: int
    chance: random.Random
    made: list[Key] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    async def one(self) -> None:
        """Make a key; revoke it, or an older one when there are too many."""
        name = f"chaos-{self.seed}-{len(self.made)}"
        answer = await self.api.call("POST", "/auth/keys", {"name": name, "actions": ["infer", "read"]})
        if not answer.accepted:
            self.findings.append(f"POST /auth/keys {name}: {answer.status} {answer.body}")
            return
        self.made.append(Key(name, answer.body["id"], answer.body["key"], answer.lost))
        live = [key for key in self.made if not key.revoked]
        if self.chance.random() < REVOKED or sum(1 + key.lost for key in live) > LIVE_AT_MOST:
            await self._revoke(self.chance.choice(live))

    async def _revoke(self, key: Key) -> None:
        answer = await self.api.call("DELETE", f"/auth/keys/{key.id}")
        key.revoked = answer.accepted
        if not answer.accepted:
            self.findings.append(f"DELETE /auth/keys/{key.id}: {answer.status} {answer.body}")
