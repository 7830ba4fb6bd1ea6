"""Webhooks as the Standard Webhooks specification has them: headers, signature, payload. Pure.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md 1.0.0, «Signature scheme», «Metadata».
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from functions.serve.inference.requests import signing_key


def headers(message_id: str, at: int, payload: bytes, secret: str) -> Mapping[str, str]:
    """The headers of one delivery. at: seconds since the epoch. Without a secret there is no signature."""
    named = {"content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(at)}
    key = signing_key(secret) if secret else None
    return named if key is None else {**named, "webhook-signature": f"v1,{signature(message_id, at, payload, key)}"}


def signature(message_id: str, at: int, payload: bytes, key: bytes) -> str:
    """Base64 of HMAC-SHA256 over id, timestamp and payload with dots between."""
    signed = f"{message_id}.{at}.".encode() + payload
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def payload(row: Mapping[str, Any], public_url: str) -> bytes:
    """What is told: how it ended and where the answer is, never the answer. The same bytes at every delivery."""
    uuid, ended = row["uuid"], row["finished_at"]
    address = f"{public_url.rstrip('/')}/inference/{uuid}"
    data = {
        "id": uuid,
        "status": row["status"],
        "server": row["server_name"],
        "model": row["model_name"],
        "error": row["error"],
        "url": address,
        "result_url": f"{address}/result" if row["status"] == "completed" else None,
    }
    return msgspec.json.encode({"type": f"inference.{row['status']}", "timestamp": _rfc3339(ended), "data": data})


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
