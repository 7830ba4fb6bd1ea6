"""Compares what was accepted with what there is: the database, S3, the API and the processes.

`unsettled` is asked until it is empty or patience ends; `findings` then says what is lost, doubled, stuck or left over. The
file is long because every promise has its comparison here.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from kn_model.local.eventing.delivery import RETRYABLE
from tests.chaos import asked, events
from tests.chaos.api import Api
from tests.chaos.events import Events
from tests.chaos.keys import Keys
from tests.chaos.killer import writing_below
from tests.chaos.letters import Letters
from tests.chaos.models import Life, Models, Server
from tests.chaos.world import World

SERVICES: Final = "/apis/serving.knative.dev/v1/namespaces/torpor/services"
ROUTES: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/torpor/httproutes"
SERVER_LABEL: Final = "torpor.dev/server"
WINDOW: Final = "autoscaling.knative.dev/window"
# Where the download function keeps things (docs/storage.md); contents that nobody refers to may stay for a while.
BLOBS: Final = "blobs/sha256/"
MANIFESTS: Final = "manifests/"
PREFIXES: Final = (BLOBS, MANIFESTS, "staging/", "models/")
# Objects whose bytes are read and digested; the others' sizes are compared.
DIGESTED: Final = 40
KEYS_TRIED: Final = 20
# Findings of one kind that are told in full.
TOLD: Final = 5
STEADY: Final = ("ready", "asleep")

UNSETTLED: Final = """
SELECT 'models' AS what, count(*) AS many FROM model_records WHERE status = 'downloading'
UNION ALL SELECT 'servers', count(*) FROM server_records WHERE status IN ('pending', 'deploying')
UNION ALL SELECT 'inference', count(*) FROM inference_requests WHERE status IN ('queued', 'running') AND accepted_at IS NOT NULL
UNION ALL SELECT 'outbox', count(*) FROM outbox
UNION ALL SELECT 'deliveries', count(*) FROM broker.owed WHERE attributes ->> 'type' NOT LIKE 'dev.knative.%'
UNION ALL SELECT 'redriven poison', count(*) FROM dead_letters WHERE source = '/torpor/chaos' AND redriven_at IS NOT NULL
"""
USAGE: Final = """
SELECT event_source, event_id, count(*) AS rows, sum(prompt_tokens)::bigint AS prompt, sum(completion_tokens)::bigint AS completion
FROM usage WHERE server_name = 'chaos' GROUP BY event_source, event_id
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked of the world."""

    events: Events
    models: Models
    keys: Keys
    letters: Letters
    api: Api


async def unsettled(world: World) -> Mapping[str, int]:
    """What has not come to rest, by kind."""
    found = {row["what"]: row["many"] for row in await world.sql(UNSETTLED)}
    found["uploads"] = sum([len(await world.bucket().uploads(prefix)) for prefix in PREFIXES])
    found["orphan objects"] = len(await _orphan_objects(world))
    found["orphan services"] = len(await _orphan_services(world))
    return {what: many for what, many in found.items() if many}


async def findings(world: World, load: Load) -> Sequence[str]:
    """Everything that is not as it was promised; empty when all is well."""
    parts = [
        ("runtime", world.findings),
        (
            "command",
            [
                *load.models.findings,
                *load.models.asked.findings,
                *load.keys.findings,
                *load.letters.findings,
                *load.events.refused,
            ],
        ),
        ("stuck", [f"{many} {what}" for what, many in (await unsettled(world)).items()]),
        ("usage", await _usage(world, load.events)),
        ("usage by the API", await _usage_api(load)),
        ("dead letter", await _dead_letters(world, load.events)),
        ("model", await _models(world, load.models.lives)),
        ("server", await _servers(world, load.models.lives)),
        ("service without record", await _orphan_services(world)),
        ("object without record", await _orphan_objects(world)),
        ("object", await _stored(world)),
        ("inference", await asked.wrong(world, load.models.asked)),
        ("key", await _keys(world, load)),
        ("process", orphan_processes(world)),
    ]
    return [line for part, found in parts for line in _told(part, found)]


def orphan_processes(world: World) -> Sequence[str]:
    """Processes that write to the runtime's logs and are not below its supervisor."""
    if world.process is None:
        return []
    family = {world.process.pid}
    if world.process.poll() is None:
        family |= {one.pid for one in psutil.Process(world.process.pid).children(recursive=True)}
    return [f"{pid}: {_command(pid)}" for pid in writing_below(world.logs) if pid not in family]


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return "gone meanwhile"


def _told(part: str, found: Sequence[str]) -> Iterable[str]:
    yield from (f"{part}: {text}" for text in found[:TOLD])
    if len(found) > TOLD:
        yield f"{part}: {len(found) - TOLD} more"


async def _usage(world: World, sent: Events) -> Sequence[str]:
    """Every accepted usage event counted once, whole, and nothing else."""
    stored = {(row["event_source"], row["event_id"]): row for row in await world.sql(USAGE)}
    found = []
    for number in range(sent.count):
        row = stored.pop((events.ENGINE, events.usage_id(sent.seed, number)), None)
        records = events.usage(sent.seed, number).records
        wanted = (len(records), sum(r.prompt_tokens for r in records), sum(r.completion_tokens for r in records))
        if row is None:
            found.append(f"lost: event {number}")
        elif (row["rows"], row["prompt"], row["completion"]) != wanted:
            found.append(f"event {number} is {row['rows'], row['prompt'], row['completion']} and not {wanted}")
    return [*found, *(f"from nowhere: {key}" for key in stored)]


async def _usage_api(load: Load) -> Sequence[str]:
    """The sums that people see."""
    wanted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for number in range(load.events.count):
        for record in events.usage(load.events.seed, number).records:
            sums = wanted[record.model_name, record.subject]
            for place, value in enumerate((1, record.prompt_tokens, record.completion_tokens)):
                sums[place] += value
    seen: dict[tuple[str, str], list[int]] = {}
    for model in events.MODELS:
        answer = await load.api.call("GET", f"/usage?limit=100&model={model}")
        for row in answer.body["usage"]:
            seen[row["model"], row["subject"]] = [row["requests"], row["prompt_tokens"], row["completion_tokens"]]
    return [f"{key}: {seen.get(key)} and not {sums}" for key, sums in wanted.items() if seen.get(key) != sums]


async def _dead_letters(world: World, sent: Events) -> Sequence[str]:
    """The poison, each once and byte for byte, and nothing else that was refused."""
    rows = await world.sql("SELECT source, event_id, type, data, error_code, error_data FROM dead_letters")
    stored = defaultdict(list)
    for row in rows:
        stored[row["source"], row["event_id"]].append(row)
    found = []
    for each in sent.poisoned:
        letters = stored.pop((each.source, each.id), [])
        if len(letters) != 1:
            found.append(f"{each.id} is {len(letters)} times among the dead letters")
        elif letters[0]["data"] != each.body:
            found.append(f"{each.id} has other bytes than it was sent with")
    for (source, event_id), letters in stored.items():
        if any(_refused(letter["error_code"]) for letter in letters):
            why = f"{letters[0]['error_code']} {letters[0]['error_data']}"
            found.append(f"not poison: {letters[0]['type']} {source} {event_id}: {why}")
    return found


def _refused(code: int | None) -> bool:
    """Whether a subscriber wanted none of it, as against never having been well for as long as its Trigger retries."""
    return code is not None and 400 <= code < 500 and code not in RETRYABLE


async def given_up(world: World) -> Mapping[str, int]:
    """Events whose retries were used up, by type. What they ask for is asked again by the tick, or by a redrive."""
    rows = await world.sql("SELECT source, type, error_code FROM dead_letters WHERE source <> $1", events.STRANGER)
    return Counter(row["type"] for row in rows if not _refused(row["error_code"]))


async def _models(world: World, lives: Sequence[Life]) -> Sequence[str]:
    """One record of each name, in a state that the accepted commands allow."""
    rows = await world.sql("SELECT uuid, model_name, status, error_code, error FROM model_records")
    by_name = defaultdict(list)
    for row in rows:
        by_name[row["model_name"]].append(row)
    found = []
    for life in lives:
        records = by_name.pop(life.name, [])
        if [row["uuid"] for row in records] != [life.uuid]:
            found.append(f"{life.name} ({life.uuid}) has the records {[row['uuid'] for row in records]}")
        elif records[0]["status"] not in life.may_be:
            row = records[0]
            why = f"{row['error_code']}: {row['error']}"
            found.append(f"{life.name} of {life.repository} is {row['status']} and not {life.may_be}: {why}")
    return [*found, *(f"from nowhere: {name}" for name in by_name)]


async def _servers(world: World, lives: Sequence[Life]) -> Sequence[str]:
    """One record of each accepted server, and a Service that says what was accepted last."""
    rows = {row["uuid"]: row for row in await world.sql("SELECT * FROM server_records")}
    services = {_label(each): each for each in await world.objects(SERVICES) if _label(each)}
    found = []
    for server in (server for life in lives for server in life.servers):
        row = rows.pop(server.uuid, None)
        found += [f"{server.name}: {problem}" for problem in _wrong(server, row, services.get(server.uuid))]
    for life in (life for life in lives if life.by_event):
        mine = [uuid for uuid, row in rows.items() if row["model_uuid"] == life.uuid]
        states = [rows.pop(uuid)["status"] for uuid in mine]
        wanted = [state for state in states if state in STEADY]
        if life.may_be == {"available"} and (len(wanted), len(states)) != (1, 1):
            found.append(f"{life.by_event}, to be served by its event, has servers in {states}")
    return [*found, *(f"from nowhere: {uuid} {row['service_name']}" for uuid, row in rows.items())]


def _wrong(server: Server, row: Any, service: Any) -> Iterable[str]:
    if row is None:
        yield "lost"
    elif server.deleted:
        if row["status"] != "deleted":
            yield f"is {row['status']} and was deleted"
    elif row["status"] not in STEADY:
        yield f"is {row['status']}: {row['error']}"
    elif service is None:
        yield "has no Service"
    else:
        window = service["spec"]["template"]["metadata"]["annotations"][WINDOW]
        if window != f"{server.window_s}s":
            yield f"has the window {window}, accepted was {server.window_s} s"


def _label(each: Mapping[str, Any]) -> str:
    return str((each["metadata"].get("labels") or {}).get(SERVER_LABEL, ""))


async def _orphan_services(world: World) -> Sequence[str]:
    """Services and routes of servers that are deleted or never were, and servers without a Service."""
    rows = await world.sql("SELECT uuid, service_name FROM server_records WHERE status = ANY ($1)", list(STEADY))
    live = {row["uuid"] for row in rows}
    rows = await world.sql("SELECT uuid FROM server_records WHERE status <> 'deleted'")
    known = {row["uuid"] for row in rows}
    found = []
    for path in (SERVICES, ROUTES):
        present = {_label(each): each["metadata"]["name"] for each in await world.objects(path)}
        present.pop("", None)
        found += [f"{path.rpartition('/')[2]} {name} of {uuid}" for uuid, name in present.items() if uuid not in known]
        found += [f"{path.rpartition('/')[2]} of {uuid} is missing" for uuid in live - present.keys()]
    return found


async def _orphan_objects(world: World) -> Sequence[str]:
    """Manifests of models that are not available, contents that no row knows, and what was on its way to be verified."""
    models = await world.sql("SELECT uuid FROM model_records WHERE status = 'available'")
    blobs = await world.sql("SELECT digest FROM blobs WHERE state = 'stored'")
    known = {f"{MANIFESTS}{row['uuid']}.json" for row in models} | {_blob(row["digest"]) for row in blobs}
    present = [each.key for prefix in PREFIXES for each in await world.bucket().keys(prefix)]
    return [key for key in present if key not in known]


def _blob(digest: str) -> str:
    return f"{BLOBS}{digest[:2]}/{digest}"


async def _stored(world: World) -> Sequence[str]:
    """Every file of an available model is verified and lies in S3 with its size, some of them digested."""
    rows = await world.sql(
        "SELECT f.model_uuid, f.path, f.size_bytes, f.sha256, f.status FROM model_files f"
        " JOIN model_records m ON m.uuid = f.model_uuid WHERE m.status = 'available' ORDER BY f.model_uuid, f.path"
    )
    bucket = world.bucket()
    present = {each.key: each.size for each in await bucket.keys(BLOBS)}
    found = []
    for row in rows:
        size = present.get(_blob(row["sha256"] or ""))
        if row["status"] != "verified" or size != row["size_bytes"]:
            found.append(f"{row['model_uuid']}/{row['path']} is {row['status']}, {size} of {row['size_bytes']} bytes")
    for row in rows[:: max(1, len(rows) // DIGESTED)]:
        data = await bucket.get(_blob(row["sha256"] or "")) or b""
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            found.append(f"{row['model_uuid']}/{row['path']} has other bytes than were verified")
    return found


async def _keys(world: World, load: Load) -> Sequence[str]:
    """Each accepted key once (more only where answers were lost), revoked where that was accepted, and it works so."""
    rows = await world.sql("SELECT id, name, revoked_at FROM api_keys")
    names, revoked = Counter(row["name"] for row in rows), {row["id"]: row["revoked_at"] is not None for row in rows}
    found = []
    for key in load.keys.made:
        if not 1 <= names[key.name] <= 1 + key.lost:
            found.append(f"{key.name} is there {names[key.name]} times, {key.lost} answers were lost")
        if revoked.get(key.id) is not key.revoked:
            found.append(f"{key.id} is revoked: {revoked.get(key.id)}, accepted was {key.revoked}")
    tried = load.keys.made[-KEYS_TRIED:]
    for key, status in zip(tried, await asyncio.gather(*(load.api.as_key(key.text) for key in tried)), strict=True):
        if status != (401 if key.revoked else 200):
            found.append(f"{key.id} gets {status}, revoked: {key.revoked}")
    return found
