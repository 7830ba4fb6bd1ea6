"""Webhooks as the Standard Webhooks specification has them."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.serve.inference import signing

# The vector of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
PAYLOAD = b'{"test": 2432232314}'
AT = 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

ROW = {
    "uuid": "u-1",
    "status": "completed",
    "server_name": "smol",
    "model_name": "SmolLM2",
    "error": None,
    "finished_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "callback_secret": SECRET,
    "callback_url": "https://receiver.example/secret-path",
}


def test_the_specifications_vector() -> None:
    """Receivers verify with any of its libraries."""
    assert signing.headers(MESSAGE, AT, PAYLOAD, SECRET) == {
        "content-type": "application/json",
        "webhook-id": MESSAGE,
        "webhook-timestamp": str(AT),
        "webhook-signature": SIGNATURE,
    }


def test_without_a_secret_there_is_no_signature() -> None:
    """Rather than one that everybody could make."""
    assert "webhook-signature" not in signing.headers(MESSAGE, AT, PAYLOAD, "")


@pytest.mark.parametrize(
    "changed", [(MESSAGE + "x", AT, PAYLOAD), (MESSAGE, AT + 1, PAYLOAD), (MESSAGE, AT, PAYLOAD + b" ")]
)
def test_everything_that_counts_is_signed(changed: tuple[str, int, bytes]) -> None:
    """Id, time and payload: a signature that was overheard is good for nothing else."""
    assert signing.headers(*changed, SECRET)["webhook-signature"] != SIGNATURE


def test_the_recipe_of_the_documentation() -> None:
    """docs/inference.md tells receivers how to verify: run as it stands there, it takes what is sent and nothing else."""
    page = (Path(__file__).parents[2] / "docs" / "inference.md").read_text(encoding="utf-8")
    recipe: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], recipe)  # noqa: S102  # our own page
    now = int(time.time())
    headers = signing.headers(MESSAGE, now, PAYLOAD, SECRET)
    verify = recipe["verify"]
    assert verify(SECRET, headers, PAYLOAD)
    assert not verify(SECRET, headers, PAYLOAD + b" ")
    assert not verify(SECRET, {**headers, "webhook-id": "another"}, PAYLOAD)
    assert not verify(SECRET, signing.headers(MESSAGE, AT, PAYLOAD, SECRET), PAYLOAD)


def test_the_payload_says_where_the_answer_is() -> None:
    """Never the answer, nor anything secret; the same bytes each time."""
    body = signing.payload(ROW, "https://torpor.example/")
    assert body == signing.payload(ROW, "https://torpor.example/")
    assert msgspec.json.decode(body) == {
        "type": "inference.completed",
        "timestamp": "2026-01-02T03:04:05.000Z",
        "data": {
            "id": "u-1",
            "status": "completed",
            "server": "smol",
            "model": "SmolLM2",
            "error": None,
            "url": "https://torpor.example/inference/u-1",
            "result_url": "https://torpor.example/inference/u-1/result",
        },
    }


def test_what_failed_has_no_result() -> None:
    """But its error."""
    data = msgspec.json.decode(signing.payload({**ROW, "status": "failed", "error": "no"}, "http://t"))["data"]
    assert (data["result_url"], data["error"]) == (None, "no")
