"""Model signatures as `model_signing` 1.1.1 writes them (the vectors beside this file), and what a policy makes of them."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from functions.download import signatures
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused
from functions.download.signatures import PAYLOAD_TYPE, Key, Policy, Unsigned, load_keys, verify
from functions.download.vouching import Outcome, Verdict, Vouching

VECTORS = Path(__file__).with_name("signatures")
CURVES = ("p256", "p384", "p521")
# What was signed: these three files.
FILES = {
    "config.json": hashlib.sha256(b'{"architectures": ["LlamaForCausalLM"]}').hexdigest(),
    "weights.bin": hashlib.sha256(b"not quite weights").hexdigest(),
    "1_Pooling/config.json": hashlib.sha256(b"{}").hexdigest(),
}


def bundle(curve: str) -> bytes:
    """The library's signature by the key of that curve."""
    return (VECTORS / f"{curve}.sig").read_bytes()


def key(curve: str) -> Key:
    """Its public key."""
    (found,) = load_keys((VECTORS / f"{curve}.pub").read_text())
    return found


def changed(curve: str, **changes: Any) -> bytes:
    """The signature with another statement inside, which nobody signed."""
    document = json.loads(bundle(curve))
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps({**payload, **changes}).encode()).decode()
    return json.dumps(document).encode()


def signed(statement: dict[str, Any], payload_type: str = PAYLOAD_TYPE) -> tuple[bytes, Key]:
    """A bundle around any statement, by an Ed25519 key of its own."""
    private = Ed25519PrivateKey.generate()
    payload = json.dumps(statement).encode()
    message = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"sig": base64.b64encode(private.sign(message)).decode()}],
    }
    document = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": envelope}
    shape = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (public,) = load_keys(private.public_key().public_bytes(*shape).decode())
    return json.dumps(document).encode(), public


def statement(**changes: Any) -> dict[str, Any]:
    """About one file."""
    digest = "ab" * 32
    root = hashlib.sha256(bytes.fromhex(digest)).hexdigest()
    serialization_type = {"method": "files", "hash_type": "sha256"}
    resources = [{"name": "m.gguf", "algorithm": "sha256", "digest": digest}]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization_type, "resources": resources, **changes},
    }


@pytest.mark.parametrize("curve", CURVES)
def test_a_signature_of_the_library_holds(curve: str) -> None:
    """Whichever of the trusted keys made it, which is named as the bundle's own hint names it."""
    found = verify(bundle(curve), [key(other) for other in CURVES], FILES)
    assert found.name == json.loads(bundle(curve))["verificationMaterial"]["publicKey"]["hint"]


def test_a_part_of_what_was_signed_may_be_fetched() -> None:
    """One weight format of several, without the pictures."""
    verify(bundle("p256"), [key("p256")], {"config.json": FILES["config.json"]})


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({**FILES, "weights.bin": "0" * 64}, "weights.bin has sha256 0000"),
        ({**FILES, "more.json": "0" * 64}, "more.json is not among the files that were signed"),
    ],
)
def test_files_that_were_not_signed_so_are_refused(files: dict[str, str], reason: str) -> None:
    """Changed after the signature, or added to it."""
    with pytest.raises(Unsigned, match=reason):
        verify(bundle("p256"), [key("p256")], files)


@pytest.mark.parametrize("keys", [[], ["p384"]])
def test_a_key_that_nobody_trusts_signs_nothing(keys: list[str]) -> None:
    """However well it signs."""
    with pytest.raises(Unsigned, match="none of the keys"):
        verify(bundle("p256"), [key(name) for name in keys], FILES)


def test_another_statement_under_the_same_signature_is_found_out() -> None:
    """One byte of what was signed is another."""
    with pytest.raises(Unsigned, match="none of the keys"):
        verify(changed("p256", extra=1), [key("p256")], FILES)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff", b'{"mediaType": "x", "dsseEnvelope": {"payload": "!", "payloadType": "", "signatures": []}}'],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    """By name, not by a traceback."""
    with pytest.raises(Unsigned, match="no sigstore bundle"):
        verify(data, [key("p256")], FILES)


def test_ed25519_signs_too() -> None:
    """The library does not make such signatures; the format has room for them."""
    data, public = signed(statement())
    assert verify(data, [public], {"m.gguf": "ab" * 32}) == public


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            statement(serialization={"method": "shards", "hash_type": "sha256-sharded-1000"}),
            "sign whole files by sha256",
        ),
        (statement(resources=[{"name": "m.gguf", "algorithm": "blake3", "digest": "ab" * 32}]), "sign whole files"),
        (statement(resources=[{"name": "m.gguf", "algorithm": "sha256", "digest": "cd" * 32}]), "contradicts itself"),
        (statement(resources=[{"name": "m.gguf", "algorithm": "sha256", "digest": "x"}]), "no usable digest"),
        ({**statement(), "predicateType": "https://slsa.dev/provenance/v1"}, "not a model's signature"),
        ({"_type": "x"}, "no statement about a model"),
    ],
)
def test_a_statement_of_another_kind_is_refused(document: dict[str, Any], reason: str) -> None:
    """Signed by somebody we trust, and about something else."""
    data, public = signed(document)
    with pytest.raises(Unsigned, match=reason):
        verify(data, [public], {"m.gguf": "ab" * 32})


def test_a_payload_of_another_type_is_refused() -> None:
    """What the same key signed for another purpose says nothing about models."""
    data, public = signed(statement(), "text/plain")
    with pytest.raises(Unsigned, match="text/plain"):
        verify(data, [public], {"m.gguf": "ab" * 32})


@pytest.mark.parametrize("text", ["abc", "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"])
def test_keys_that_are_none_stop_the_start(text: str) -> None:
    """A setting that is wrong is found when the function starts."""
    with pytest.raises(ValueError):  # noqa: PT011  # the words are the library's
        load_keys(text)


CHOSEN = [RemoteFile("m.gguf", 1)]
SIGNATURE = RemoteFile(signatures.FILE, 1000)


@pytest.mark.parametrize(
    ("policy", "offered", "fetched"),
    [
        (Policy.NONE, [*CHOSEN, SIGNATURE], ["m.gguf"]),
        (Policy.IF_PRESENT, [*CHOSEN, SIGNATURE], ["m.gguf", "model.sig"]),
        (Policy.IF_PRESENT, CHOSEN, ["m.gguf"]),
        (Policy.REQUIRED, [*CHOSEN, SIGNATURE], ["m.gguf", "model.sig"]),
    ],
)
def test_a_policy_that_asks_for_signatures_fetches_them(
    policy: Policy, offered: list[RemoteFile], fetched: list[str]
) -> None:
    """The default patterns do not name them."""
    assert [file.path for file in Vouching(policy, ()).with_signature(CHOSEN, offered)] == fetched


def test_an_unsigned_model_is_refused_before_its_first_byte_where_signatures_are_required() -> None:
    """The plan knows it."""
    with pytest.raises(SourceRefused, match=r"no model\.sig"):
        Vouching(Policy.REQUIRED, ()).with_signature(CHOSEN, CHOSEN)


@pytest.mark.parametrize(
    ("policy", "data", "outcome", "code"),
    [
        (Policy.NONE, None, None, None),
        (Policy.NONE, b"{}", None, None),
        (Policy.IF_PRESENT, None, Outcome.ABSENT, None),
        (Policy.IF_PRESENT, b"{}", Outcome.INVALID, "signature-invalid"),
        (Policy.IF_PRESENT, bundle("p256"), Outcome.VERIFIED, None),
        (Policy.REQUIRED, None, Outcome.ABSENT, "signature-missing"),
        (Policy.REQUIRED, b"{}", Outcome.INVALID, "signature-invalid"),
        (Policy.REQUIRED, bundle("p256"), Outcome.VERIFIED, None),
    ],
)
def test_policies(policy: Policy, data: bytes | None, outcome: Outcome | None, code: str | None) -> None:
    """What each policy makes of each signature; the signature itself does not have to be signed."""
    vouching = Vouching(policy, [key("p256")])
    verdict = vouching.judge(data, {**FILES, signatures.FILE: "0" * 64})
    refusal = vouching.refusal(verdict)
    assert (verdict.outcome if verdict else None) == outcome
    assert (refusal[0] if refusal else None) == code


def test_a_verdict_is_shown() -> None:
    """As the record keeps it."""
    assert Verdict(Outcome.VERIFIED, "k").document() == {"outcome": "verified", "key": "k", "detail": None}
