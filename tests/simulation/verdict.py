"""What must hold: watched while a run goes on (`Record`), and judged at its end (`judge`)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from functions.kit.events import FileRequested
from tests.simulation.domain import Counted
from tests.simulation.domain_statements import STEPS
from tests.simulation.ledger_statements import OWED
from tests.simulation.store import Place, Row

if TYPE_CHECKING:
    from tests.simulation.world import World

RETRYABLE: Final = frozenset({0, 404, 408, 409, 429})


@dataclass
class Record:
    """What was seen on the way."""

    violations: list[str] = field(default_factory=list)
    # Failed attempts by the address, the event's source and its id.
    failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: set[tuple[str, str, str]] = field(default_factory=set)

    def bug(self, text: str) -> None:
        """Something that no fault explains."""
        self.violations.append(f"bug: {text}")

    def attempt(self, url: str, attributes: Mapping[str, str], status: int) -> None:
        """How one attempt of a delivery ended."""
        if not 200 <= status < 300:
            key = (url, attributes["source"], attributes["id"])
            self.failures[key] += 1
            if status < 500 and status not in RETRYABLE:
                self.refused.add(key)

    def watch(self, place: Place, before: Row | None, after: Row | None) -> None:
        """A commit: states go forward alone."""
        table, key = place
        if table not in STEPS or before is None:
            return
        order = STEPS[table]
        if after is None or order.index(after["status"]) < order.index(before["status"]):
            self.violations.append(f"{table} {key} went from {before['status']} to {after and after['status']}")
        elif table == "files" and after["done"] < before["done"]:
            self.violations.append(f"file {key} went from slice {before['done']} to {after['done']}")


def unfinished(world: "World") -> list[str]:
    """What is still to be done: empty once everything that was accepted is."""
    return [*_records(world), *_queues(world)]


def judge(world: "World") -> list[str]:
    """What was violated, at the end."""
    return [*unfinished(world), *_effects(world), *_dead_letters(world), *_leftovers(world)]


def _records(world: "World") -> Iterator[str]:
    models, servers = world.store.rows("models"), world.store.rows("servers")
    for uuid, command in world.people.asked.items():
        if command.poison:
            continue
        row = models.get(uuid)
        if row is None:
            if uuid in world.people.accepted:
                yield f"the accepted command {uuid} left no record"
            continue
        if row["status"] != "available":
            yield f"model {uuid} is stuck: {row['status']}"
        elif command.serve and (uuid not in servers or servers[uuid]["status"] != "ready"):
            yield f"server of {uuid} is stuck: {servers.get(uuid, {}).get('status', 'never made')}"


def _queues(world: "World") -> Iterator[str]:
    for key, row in world.store.rows("outbox").items():
        yield f"outbox still has {row['type']} of {row['subject']}: {key}"
    for key, row in world.store.rows(OWED).items():
        yield f"the broker still owes {key} to {row['trigger']}"


def _effects(world: "World") -> Iterator[str]:
    """Exactly once for what has a record; the server's count hangs on its event alone, which a lossy broker may lose."""
    effects = {key: row["count"] for key, row in world.store.rows("effects").items()}
    for (what, subject), count in effects.items():
        if count != 1:
            yield f"{what} of {subject} happened {count} times"
    for uuid in world.store.rows("models"):
        command = world.people.asked[str(uuid)]
        expected = [("planned", uuid), ("published", uuid)]
        expected += [
            ("slice", f"{uuid}/f{n}/{done}") for n, count in enumerate(command.slices) for done in range(count)
        ]
        if command.serve:
            expected += [("server", uuid), ("served", uuid)]
            if not world.plan.lossy and not _given_up(world, Counted.TYPE, str(uuid)):
                expected.append(("counted", uuid))
        for each in expected:
            if each not in effects:
                yield f"{each[0]} of {each[1]} never happened"


def _given_up(world: "World", type_: str, subject: str) -> bool:
    letters = world.store.rows("dead_letters").values()
    return any(row["type"] == type_ and row["subject"] == subject for row in letters) or _sink_failed(world)


def _sink_failed(world: "World") -> bool:
    """Whether the dead letter sink was away for longer than every retry: then an event is gone, as on a cluster."""
    return any(
        url.endswith("/deadletters") and count > RETRIES for (url, _, __), count in world.record.failures.items()
    )


def _dead_letters(world: "World") -> Iterator[str]:
    """Poison once, and of the rest only what failed as often as its Trigger allows."""
    poisoned: Counter[str] = Counter()
    for (source, id_, dest), row in world.store.rows("dead_letters").items():
        is_poison = row["type"] == FileRequested.TYPE and world.people.asked[_model(row)].poison
        if is_poison:
            poisoned[row["subject"]] += 1
        elif (dest, source, id_) in world.record.refused:
            yield f"{row['type']} of {row['subject']} was refused and is a dead letter"
        elif world.record.failures[dest, source, id_] <= _retries(row["type"]):
            yield f"{row['type']} of {row['subject']} is a dead letter without reason"
    for uuid in world.people.accepted:
        if world.people.asked[uuid].poison:
            lost = not world.plan.lossy and not _sink_failed(world)
            if poisoned[uuid] > 1 or (poisoned[uuid] == 0 and lost):
                yield f"poison {uuid} is {poisoned[uuid]} times among the dead letters"


def _model(row: Row) -> str:
    return str(row["subject"])


def _leftovers(world: "World") -> Iterator[str]:
    held: list[Any] = list(world.store.holders)
    if held:
        yield f"rows are locked by nobody who lives: {held[:3]}"


def _retries(type_: str) -> int:
    return 1 if type_ == "dev.knative.sources.ping" else RETRIES


RETRIES: Final = 5
