"""What Knative's admission webhooks do to an object before it is stored: fill in defaults, then refuse what is wrong.

Called by the API of the laptop runtime on every write, and by the manifest tests. Pure: values in, a new value or
`Denied` out. The rules are the tables in `serving`, `pod`, `container`, `volume`, `probe`, `scale`, `eventing` and `sources`. What the API server
checks before any webhook, a field's existence and type, is in `supported`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kn_model.local.admission import defaults, definitions, eventing, serving, sources
from kn_model.local.admission.config import ClusterConfig
from kn_model.local.admission.supported import misshapen
from kn_model.local.api.errors import BadRequest, Invalid
from kn_model.local.objects import kinds
from kn_model.local.objects.kinds import Kind, Object, UnknownKind, kind_of

ADMINISTRATOR: Final = "kubernetes-admin"
"""Who writes when nobody says: the name that a kubeconfig's administrator has."""

Default: TypeAlias = Callable[[Object, ClusterConfig], None]


class Denied(BadRequest):
    """A webhook refused the object; the message names the fields and is Knative's own."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """What happens to objects of one kind: defaults, then rules."""

    name: str
    default: Default
    rules: Sequence[serving.ObjectRule]


_SERVING: Final = "validation.webhook.serving.knative.dev"
_EVENTING: Final = "validation.webhook.eventing.knative.dev"

WEBHOOKS: Final[Mapping[Kind, Webhook]] = {
    kinds.SERVICE: Webhook(_SERVING, defaults.default_service, serving.SERVICE_RULES),
    kinds.CONFIGURATION: Webhook(_SERVING, defaults.default_configuration, serving.CONFIGURATION_RULES),
    kinds.REVISION: Webhook(_SERVING, defaults.default_revision, serving.REVISION_RULES),
    kinds.ROUTE: Webhook(_SERVING, defaults.default_route, serving.ROUTE_RULES),
    kinds.BROKER: Webhook(_EVENTING, defaults.default_broker, eventing.BROKER_RULES),
    kinds.TRIGGER: Webhook(_EVENTING, defaults.default_trigger, eventing.TRIGGER_RULES),
    kinds.PING_SOURCE: Webhook(_EVENTING, defaults.default_ping_source, sources.PING_SOURCE_RULES),
    kinds.API_SERVER_SOURCE: Webhook(_EVENTING, defaults.default_api_server_source, sources.API_SERVER_SOURCE_RULES),
}


def admit(
    obj: Mapping[str, Any],
    old: Mapping[str, Any] | None = None,
    *,
    config: ClusterConfig | None = None,
    user: str = ADMINISTRATOR,
) -> Object:
    """The object as it will be stored. Raises Denied, Invalid.

    old: what it replaces, None when it is new. config: the cluster's; a fresh installation's when left out.
    Objects that no webhook looks at come back as they are; a CustomResourceDefinition says that its kind is served.
    """
    admitted: Object = _without_nulls(obj)
    if admitted.get("kind") == kinds.CUSTOM_RESOURCE_DEFINITION.kind:
        return _defined(admitted)
    webhook = _webhook(admitted)
    if webhook is None:
        return admitted
    kind = kind_of(admitted)
    _refuse(webhook, kind, admitted, misshapen(admitted))
    admitted.setdefault("metadata", {})
    admitted["spec"] = admitted.get("spec") or {}
    settings = config or ClusterConfig()
    webhook.default(admitted, settings)
    before = copy.deepcopy(dict(old)) if old is not None else None
    if webhook.name == _SERVING and kind != kinds.REVISION:
        defaults.record_user(admitted, before, user)
    review = serving.Review(admitted, before, settings)
    _refuse(webhook, kind, admitted, sorted({str(found) for rule in webhook.rules for found in rule(review)}))
    return admitted


def _without_nulls(value: Any) -> Any:
    """A deep copy as a typed API server decodes it: a field that is null is not there."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _webhook(obj: Mapping[str, Any]) -> Webhook | None:
    try:
        return WEBHOOKS.get(kind_of(obj))
    except UnknownKind:
        return None


def _defined(crd: Object) -> Object:
    """A definition that can be served here, with the status that says so. Raises Invalid."""
    found = misshapen(crd) or [str(each) for each in definitions.rules(crd)]
    if found:
        kind, name = kinds.CUSTOM_RESOURCE_DEFINITION, str((crd.get("metadata") or {}).get("name", ""))
        raise Invalid(f'{kind.key} "{name}" is invalid: {"; ".join(found)}', kind, name)
    return definitions.established(crd)


def _refuse(webhook: Webhook, kind: Kind, obj: Object, findings: Sequence[str]) -> None:
    if findings:
        text = "\n".join(findings)
        message = f'admission webhook "{webhook.name}" denied the request: validation failed: {text}'
        metadata = obj.get("metadata")
        raise Denied(message, kind, str(metadata.get("name", "")) if isinstance(metadata, Mapping) else "")
