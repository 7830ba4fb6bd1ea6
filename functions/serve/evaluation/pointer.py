"""The promotion pointer in S3: `promotions/<alias>.json` names the model that an alias's last evaluation chose.

For whoever reads the bucket alone. Written under the condition that nobody else has written meanwhile, so that an older
evaluation, however late it comes, never takes a newer one's place.
"""

import msgspec
from msgspec import Struct

from functions.kit.objects import ObjectExists, Objects
from functions.kit.problem import Retry


class Pointer(Struct, frozen=True):
    """What the object says. number: grows with every evaluation of this installation."""

    alias: str
    number: int
    evaluation: str
    model_uuid: str
    model_name: str
    score: float


class _Number(Struct):
    number: int = 0


def key(alias: str) -> str:
    """Where it is."""
    return f"promotions/{alias}.json"


async def point(objects: Objects, pointer: Pointer) -> bool:
    """Write it; False when a later evaluation has written one. Raises Retry when somebody writes at the same time."""
    place, data = key(pointer.alias), msgspec.json.encode(pointer)
    # The ETag before the bytes: bytes of a later version can only make the write fail.
    there = await objects.head(place)
    known = _number(await objects.get(place)) if there else 0
    if known > pointer.number:
        return False
    try:
        if there is None:
            await objects.put(place, data, if_none_match=True)
        elif known < pointer.number:
            await objects.put(place, data, if_match=there.etag)
    except ObjectExists as error:
        raise Retry(1, f"somebody else writes {place} right now; it is looked at again") from error
    return True


def _number(data: bytes | None) -> int:
    """0 for what is gone or was not written here: it is replaced."""
    try:
        return msgspec.json.decode(data or b"{}", type=_Number).number
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0
