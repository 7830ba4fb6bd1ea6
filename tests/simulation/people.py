"""Who asks: commands at random moments, sent again until they are answered 202, or given up."""

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from tests.simulation import processes
from tests.simulation.domain import Command

if TYPE_CHECKING:
    from tests.simulation.world import World

GIVE_UP_RATE: Final = 0.15
PATIENCE_S: Final = 8.0
AGAIN_S: Final = 2.0


class People:
    """Everybody who posts to /models; `asked` is every command that was sent, `accepted` those that were answered 202."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.asked: dict[str, Command] = {}
        self.accepted: set[str] = set()

    async def work(self) -> None:
        """All commands of a run."""
        plan = self._world.plan
        await asyncio.gather(*(self._ask(number) for number in range(plan.commands)))

    async def _ask(self, number: int) -> None:
        world, random = self._world, self._world.random
        slices = tuple(random.choice((1, 1, 2, 3)) for _ in range(random.choice((1, 1, 2))))
        command = Command(f"m{number}", slices, random.random() < 0.8, random.random() < world.plan.poison)
        self.asked[command.uuid] = command
        await asyncio.sleep(random.random() * world.plan.duration_s)
        while not await self._send(command):
            if random.random() < GIVE_UP_RATE:
                return
            await asyncio.sleep(random.random() * AGAIN_S)

    async def _send(self, command: Command) -> bool:
        world = self._world
        try:
            answer = await world.network.call(
                f"http://{processes.host('download')}/models", {}, msgspec.json.encode(command), PATIENCE_S
            )
        except (TimeoutError, aiohttp.ClientError):
            return False
        if answer.status != 202:
            return False
        self.accepted.add(command.uuid)
        world.trace.note("accepted", command.uuid)
        return True
