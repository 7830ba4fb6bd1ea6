"""Under which trace an object was made or changed last: said on the object, so that what follows from it joins. Pure.

`handlers` marks what it applies; the cluster's news of the object are then handled under that trace, and the engine of
a revision starts in it. A trace alone is no difference: it is written when something else is, so it makes no revision.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from functions.kit.events import RESOURCE_CHANGES, CloudEvent
from functions.kit.kube import Json

ANNOTATION: Final = "torpor.dev/traceparent"
# OpenTelemetry's name for it in an environment; vLLM knows it too.
VARIABLE: Final = "TRACEPARENT"


def of_object(obj: Mapping[str, Any]) -> str:
    """The traceparent that an object, or a pod template, was marked with; empty when it was not."""
    return str((obj.get("metadata", {}).get("annotations") or {}).get(ANNOTATION, ""))


class _Metadata(msgspec.Struct):
    annotations: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


def of_event(event: CloudEvent) -> str:
    """An event's traceparent; the ApiServerSource's carry none, so theirs is that of the object."""
    if event.type not in RESOURCE_CHANGES:
        return event.traceparent
    try:
        return msgspec.json.decode(event.data, type=_Object).metadata.annotations.get(ANNOTATION, "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return event.traceparent


def marked(manifest: Json, traceparent: str) -> Json:
    """The object with its trace; of a Service also on its revisions, and in their engine's environment."""
    made = copy.deepcopy(manifest)
    _annotate(made, traceparent)
    _mark_template(made, traceparent)
    return made


def like(desired: Json, existing: Json) -> Json:
    """What is desired under the traces that the existing object has: for comparing the two."""
    made = copy.deepcopy(desired)
    _annotate(made, of_object(existing))
    _mark_template(made, of_object(existing["spec"].get("template") or {}))
    return made


def _annotate(obj: Json, traceparent: str) -> None:
    annotations = {name: text for name, text in obj["metadata"].get("annotations", {}).items() if name != ANNOTATION}
    if traceparent:
        annotations[ANNOTATION] = traceparent
    if annotations or "annotations" in obj["metadata"]:
        obj["metadata"]["annotations"] = annotations


def _mark_template(manifest: Json, traceparent: str) -> None:
    template = manifest["spec"].get("template")
    if template is None:
        return
    _annotate(template, traceparent)
    for container in template["spec"]["containers"]:
        others = [variable for variable in container.get("env", []) if variable["name"] != VARIABLE]
        container["env"] = [*others, {"name": VARIABLE, "value": traceparent}] if traceparent else others
