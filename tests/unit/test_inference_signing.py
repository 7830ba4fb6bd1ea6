"""Webhooks as the Standard Webhooks specification has them."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

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
    """What docs/inference.md tells receivers to do agrees with what is sent."""
    headers, body = signing.headers(MESSAGE, AT, PAYLOAD, SECRET), PAYLOAD
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert any(hmac.compare_digest(expected, each) for each in headers["webhook-signature"].split(" "))


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
