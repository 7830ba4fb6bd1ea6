"""Before a pin is taken away: the Service as it is now.

What was seen last may be from before the trial that has ended since, whose revision would get everything. Called by the
handler of `server.requested`.
"""

from datetime import UTC, datetime

from functions.kit.bus import Bus
from functions.serve import cluster, observe, records
from functions.serve.cluster import Kubernetes
from functions.serve.observe import Finding
from functions.serve.rollout import wish
from functions.serve.rollout.wish import Wish
from functions.serve.states import Cause, State


async def look(bus: Bus, api: Kubernetes, wished: Wish) -> Wish:
    """The wish once more, by a fresh look at the Service where it would take a pin away."""
    record = wished.record
    if not record.pinned or not wished.restored:
        return wished
    obj = await api.get(f"{cluster.served('Service', record.row['namespace'])}/{record.name}")
    if obj is None or observe.server_uuid(obj) != record.uuid:
        return wished
    async with bus.transaction() as unit:
        current = (await wish.lock(unit.connection, record.uuid)).record
        news = observe.with_service(current.observed, observe.read(obj))
        if news is not None:
            # As with an event: while a newer request waits to be applied, what is seen is about an older one.
            waits = current.state is State.PENDING
            finding = Finding(Cause.REQUESTED, current.error) if waits else observe.find(news)
            await records.move(unit.connection, current, news, finding, datetime.now(UTC))
        return await wish.lock(unit.connection, record.uuid)
