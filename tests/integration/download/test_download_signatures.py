"""Signed models, from the hub to the record: what the policy lets through, what it refuses, and what it leaves behind."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from functions.download.signatures import PAYLOAD_TYPE, Policy

CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
MAKER = ec.generate_private_key(ec.SECP384R1())
SHAPE = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
PUBLIC = MAKER.public_key().public_bytes(*SHAPE).decode()


def sign(files: Mapping[str, bytes]) -> bytes:
    """As `model_signing sign key` does (its own signatures are vectors of tests/unit/test_download_signatures.py)."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    root = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [{"name": name, "algorithm": "sha256", "digest": each} for name, each in digests.items()],
        },
    }
    payload = json.dumps(statement).encode()
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    signature = MAKER.sign(message, ec.ECDSA(hashes.SHA384()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": envelope}).encode()


@pytest.fixture
def files(make_tensors: Callable[[int], bytes]) -> dict[str, bytes]:
    """A model."""
    return {"model.safetensors": make_tensors(100_000), "config.json": CONFIG}


async def test_a_signed_model_says_who_signed_it(
    make_world: Callable[..., Any], hub: Any, publish_repository: Callable[..., None], files: dict[str, bytes]
) -> None:
    """The signature is fetched with the model, and the record has the key."""
    publish_repository("acme/model", {**files, "model.sig": sign({**files, "README.md": b"not fetched"})})
    world = make_world(hf_endpoint=hub.url, signature_policy=Policy.REQUIRED, signature_keys=PUBLIC)
    record = await world.pull("hf://acme/model")
    await world.deliver()
    model = await world.model(record["uuid"])
    key = hashlib.sha256(PUBLIC.encode()).hexdigest()
    assert (model["status"], model["error"]) == ("available", None)
    assert model["signature"] == {"outcome": "verified", "key": key, "detail": None}


@pytest.mark.parametrize("policy", [Policy.IF_PRESENT, Policy.REQUIRED])
async def test_a_model_that_is_not_what_was_signed_is_never_available(
    make_world: Callable[..., Any],
    hub: Any,
    publish_repository: Callable[..., None],
    files: dict[str, bytes],
    policy: Policy,
) -> None:
    """Its reason names the file; nothing is published."""
    publish_repository("acme/model", {**files, "model.sig": sign({**files, "config.json": b"{}"})})
    world = make_world(hf_endpoint=hub.url, signature_policy=policy, signature_keys=PUBLIC)
    record = await world.pull("hf://acme/model")
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "signature-invalid")
    assert model["error"].startswith(f"model.sig: config.json has sha256 {hashlib.sha256(CONFIG).hexdigest()}")
    assert model["signature"]["outcome"] == "invalid"
    assert await world.objects.get(f"manifests/{record['uuid']}.json") is None


async def test_an_unsigned_model_is_refused_or_noted(
    make_world: Callable[..., Any], hub: Any, publish_repository: Callable[..., None], files: dict[str, bytes]
) -> None:
    """Required: before its first byte, with the next step. If present: the record says that there was none."""
    publish_repository("acme/model", files)
    strict = make_world(hf_endpoint=hub.url, signature_policy=Policy.REQUIRED, signature_keys=PUBLIC)
    record = await strict.pull("hf://acme/model")
    await strict.deliver()
    model = await strict.model(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "signature-missing")
    assert "have its maker sign it" in model["error"]
    assert await strict.files(record["uuid"]) == {}
    mild = make_world(hf_endpoint=hub.url, signature_policy=Policy.IF_PRESENT, signature_keys=PUBLIC)
    record = await mild.pull("hf://acme/model", name="mild")
    await mild.deliver()
    model = await mild.model(record["uuid"])
    assert (model["status"], model["signature"]["outcome"]) == ("available", "absent")


async def test_a_refused_model_is_available_when_its_key_is_trusted(
    make_world: Callable[..., Any], hub: Any, publish_repository: Callable[..., None], files: dict[str, bytes]
) -> None:
    """The operator adds the key and tries again: nothing is fetched a second time."""
    publish_repository("acme/model", {**files, "model.sig": sign(files)})
    before = make_world(hf_endpoint=hub.url, signature_policy=Policy.REQUIRED)
    record = await before.pull("hf://acme/model")
    await before.deliver()
    assert (await before.model(record["uuid"]))["error_code"] == "signature-invalid"
    after = make_world(hf_endpoint=hub.url, signature_policy=Policy.REQUIRED, signature_keys=PUBLIC)
    assert (await after.client.post(f"/models/{record['uuid']}/retry")).status_code == 202
    await after.deliver()
    assert (await after.model(record["uuid"]))["status"] == "available"
    assert "file.requested.v1" not in after.broker.types()
