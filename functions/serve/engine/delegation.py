"""In whose name a call is made: the caller's own, or somebody's whom a function of ours asks for. Pure.

serve asks on people's behalf (functions/serve/asking.py) with a key that may `delegate`; what it uses is booked for them.
Nobody else can say so: from any other caller the two headers mean nothing, and none of them reaches the engine.
"""

import dataclasses
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from functions.kit.identity import DELEGATE, Identity
from functions.serve.engine.routes import Refusal

SUBJECT: Final = b"torpor-subject"
KEY_ID: Final = b"torpor-key-id"


def on_behalf(caller: Identity, headers: Iterable[tuple[bytes, bytes]]) -> Identity:
    """Whose usage the call is. Raises Refusal 400 for a header that comes twice: which one would be meant?"""
    if DELEGATE not in caller.actions:
        return caller
    named = [(name.lower(), value) for name, value in headers]
    subject, key_id = _one(named, SUBJECT), _one(named, KEY_ID)
    return dataclasses.replace(caller, subject=subject, key_id=key_id or None) if subject else caller


def _one(named: list[tuple[bytes, bytes]], wanted: bytes) -> str:
    found = [value for name, value in named if name == wanted]
    if len(found) > 1:
        raise Refusal(400, f"send one {wanted.decode()} header", "invalid_header")
    return unquote(found[0].decode("latin-1")) if found else ""
