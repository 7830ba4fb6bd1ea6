"""JSON Schemas of the event types, generated from the dataclasses: `python -m functions.kit.schemas eventing/types`.

A manifest test compares the files with what this module makes, so that they cannot drift apart.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from functions.kit.events import ALL, Event


def schema(kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one event's data, named by its CloudEvents type."""
    made = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:torpor:{kind.TYPE}", **made}


def rendered() -> dict[str, str]:
    """File name to content, for every event type."""
    return {f"{kind.TYPE}.json": json.dumps(schema(kind), indent=2) + "\n" for kind in ALL}


def main(folder: str) -> None:
    """Write every schema into `folder`."""
    for name, text in rendered().items():
        (Path(folder) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
