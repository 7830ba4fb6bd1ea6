"""Dead letters are sent again while everything is killed: poison comes back each time, and stays one letter."""

import random
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.api import Api

ALL: Final = 0.4
LISTED: Final = 50


@dataclass
class Letters:
    """One operator's redrives."""

    api: Api
    chance: random.Random
    asked: int = field(default=0, init=False)
    redriven: int = field(default=0, init=False)
    findings: list[str] = field(default_factory=list)

    async def one(self) -> None:
        """Redrive all that wait, or one of the newest."""
        if self.chance.random() < ALL:
            answer = await self.api.call("POST", "/deadletters/redrive", {})
            if answer.accepted:
                self.redriven += answer.body["redriven"]
        else:
            listed = await self.api.call("GET", f"/deadletters?limit={LISTED}")
            if not listed.accepted or not listed.body["dead_letters"]:
                return
            letter = self.chance.choice(listed.body["dead_letters"])
            answer = await self.api.call("POST", f"/deadletters/{letter['id']}/redrive")
            self.redriven += answer.accepted
        self.asked += 1
        if not answer.accepted:
            self.findings.append(f"redrive: {answer.status} {answer.body}")
