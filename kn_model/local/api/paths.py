"""Takes the addresses of the Kubernetes API apart. Pure; called by `api/app.py`.

`/api/v1/namespaces/torpor/secrets/x` and `/apis/<group>/<version>/namespaces/<ns>/<plural>/<name>/<subresource>`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kn_model.local.api.errors import NotFound
from kn_model.local.objects.kinds import BUILT_IN, NAMESPACE, Kind


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names: a kind, and maybe a namespace, an object and a part of it."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse(path: str, custom: Sequence[Kind] = ()) -> Address:
    """The address of a resource path; `custom` are kinds that CRDs added. Raises NotFound."""
    segments = [segment for segment in path.split("/") if segment]
    if segments[:2] == ["api", "v1"]:
        api_version, rest = "v1", segments[2:]
    elif segments[:1] == ["apis"] and len(segments) > 3:  # noqa: PLR2004  # apis, group, version, plural
        api_version, rest = "/".join(segments[1:3]), segments[3:]
    else:
        raise _nothing_here()
    namespace = ""
    # `/api/v1/namespaces/x` is the namespace itself, `/api/v1/namespaces/x/secrets` something inside it.
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):  # noqa: PLR2004
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3:  # noqa: PLR2004  # plural, name, subresource
        raise _nothing_here()
    kind = _kind(api_version, rest[0], custom)
    if bool(namespace) and not kind.namespaced and kind != NAMESPACE:
        raise _nothing_here()
    return Address(kind, namespace, *rest[1:])


def _kind(api_version: str, plural: str, custom: Sequence[Kind]) -> Kind:
    for kind in (*BUILT_IN, *custom):
        if (kind.api_version, kind.plural) == (api_version, plural):
            return kind
    raise _nothing_here()


def _nothing_here() -> NotFound:
    return NotFound("the server could not find the requested resource")
