"""The status of a ModelServe resource: what its conditions say, made of what is known. Pure.

Three conditions. ModelAvailable: every file of the model is verified. Deployed: its server is what the spec says. Ready:
both. True holds, Unknown is on its way, False needs a person or another resource. A sleeping server is ready: a call wakes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from functions.kit.problem import Problem
from functions.serve.modelserve.spec import Wanted
from functions.serve.planning import Model
from functions.serve.records import Record
from functions.serve.requests import ServeOptions
from functions.serve.rollout.rows import Rollout
from functions.serve.rollout.states import RolloutState
from functions.serve.states import State

Json = dict[str, Any]

_GONE_BACK: Final = frozenset({RolloutState.FAILED, RolloutState.ROLLED_BACK})
# A message is for `kubectl describe`; Kubernetes allows 32768 characters, a person reads a few lines.
MAX_MESSAGE: Final = 1024


class Condition(NamedTuple):
    """One entry of status.conditions, without its times."""

    type: str
    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one resource.

    model: what its spec means; None when there is none. refused: why nothing was done about it. record: its server.
    rollout: the newest of that server.
    """

    model: Model | None = None
    refused: Problem | None = None
    record: Record | None = None
    rollout: Rollout | None = None


def status(obj: Mapping[str, Any], wanted: Wanted | None, facts: Facts, now: str) -> Json:
    """The whole status, for the generation that was looked at. wanted: None when the spec cannot be read."""
    generation = int(obj["metadata"]["generation"])
    before = {each["type"]: each for each in (obj.get("status") or {}).get("conditions", [])}
    record = facts.record
    found = {
        "observedGeneration": generation,
        "conditions": [
            _written(each, before.get(each.type, {}), generation, now) for each in conditions(wanted, facts)
        ],
        "modelName": facts.model.name if facts.model else (record.model_name if record else None),
        "modelUuid": facts.model.uuid if facts.model else (record.model_uuid if record else None),
    }
    if record is not None:
        found |= {
            "serverUuid": record.uuid,
            "state": str(record.state),
            "url": record.row["gateway_url"],
            "revision": record.row["revision"],
            "replicas": record.observed.replicas,
        }
    return {name: value for name, value in found.items() if value is not None}


def conditions(wanted: Wanted | None, facts: Facts) -> Sequence[Condition]:
    """ModelAvailable, Deployed, and Ready: the worst of both."""
    model = _model_available(wanted, facts)
    deployed = _deployed(wanted, facts, model)
    return [model, deployed, _worst([model, deployed])._replace(type="Ready")]


def _worst(found: Sequence[Condition]) -> Condition:
    for status_ in ("False", "Unknown"):
        for each in found:
            if each.status == status_:
                return each
    return found[-1]


def _model_available(wanted: Wanted | None, facts: Facts) -> Condition:
    model = facts.model
    if model is None:
        if wanted is None:
            return Condition("ModelAvailable", "Unknown", "BadSpec", "the spec does not say which model")
        how, key = wanted.key
        message = f"no model has the {how} {key!r}; pull it, and this goes on by itself"
        return Condition("ModelAvailable", "False", "ModelNotFound", message)
    if model.status == "available":
        return Condition("ModelAvailable", "True", "Available")
    if model.status == "failed":
        return Condition("ModelAvailable", "False", "ModelFailed", f"GET /models/{model.uuid} says why")
    message = f"the model is {model.status}; GET /models/{model.uuid} shows how far it is"
    return Condition("ModelAvailable", "Unknown", "ModelNotAvailable", message)


def _deployed(wanted: Wanted | None, facts: Facts, model: Condition) -> Condition:
    """Whether there is a server that is what the spec says."""
    record = facts.record
    if facts.refused is not None:
        return Condition("Deployed", "False", type(facts.refused).__name__, facts.refused.detail)
    if model.status != "True":
        why = "the server is made, or changed, once its model is available"
        return Condition("Deployed", "Unknown", "WaitingForModel", why)
    if record is None or wanted is None or facts.model is None:
        return Condition("Deployed", "Unknown", "Deploying")
    if _means(record, facts.model, wanted.options) or record.state is State.FAILED:
        return _of_server(record)
    return _of_change(facts.rollout)


def _of_server(record: Record) -> Condition:
    """The server is, or is becoming, what the spec says."""
    return {
        State.READY: Condition("Deployed", "True", "Serving"),
        State.ASLEEP: Condition("Deployed", "True", "Asleep", "a call wakes it"),
        State.FAILED: Condition("Deployed", "False", "Failed", record.error),
    }.get(record.state, Condition("Deployed", "Unknown", "Deploying", record.error))


def _of_change(rollout: Rollout | None) -> Condition:
    """The server is something else by now: on its way, or given up."""
    if rollout is not None and rollout.under_way:
        return Condition("Deployed", "Unknown", "RollingOut", f"{rollout.state}, with {rollout.percent} % of the calls")
    if rollout is not None and rollout.state in _GONE_BACK:
        why = f"what served before serves on: {rollout.row['why']}; change the spec to try again"
        return Condition("Deployed", "False", "RolledBack", why)
    why = "its server was changed since by PATCH /serve; change the spec to have it as it says"
    return Condition("Deployed", "False", "ChangedSince", why)


def _means(record: Record, model: Model, options: ServeOptions) -> bool:
    return record.model_uuid == model.uuid and _essence(record.options) == _essence(options)


def _essence(options: ServeOptions) -> ServeOptions:
    return msgspec.structs.replace(options, name=None, rollout=None)


def _written(condition: Condition, before: Mapping[str, Any], generation: int, now: str) -> Json:
    """The transition time moves only when the status does."""
    same = before.get("status") == condition.status and "lastTransitionTime" in before
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:MAX_MESSAGE],
        "lastTransitionTime": before["lastTransitionTime"] if same else now,
        "observedGeneration": generation,
    }
