"""Detached model signatures (OpenSSF Model Signing, `model.sig`): whether somebody we trust vouches for these files.

A signature is a sigstore bundle that holds a DSSE envelope around an in-toto statement, which lists the files of the
model with their digests; `model_signing sign key` writes it. Ours is the check alone: the files' digests are known by
then, so what is left is one signature over a JSON text. The library would bring 94 MB and 40 packages for it.
Signatures by certificate or by an identity of Sigstore are not taken: they need roots and logs of others.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

# Where a repository has it.
FILE: Final = "model.sig"
# A statement about ten thousand files has two megabytes.
MAX_BYTES: Final = 16 * 1024 * 1024
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_BUNDLE: Final = re.compile(r"application/vnd\.dev\.sigstore\.bundle(\.v|\+json;version=)0\.[1-3](\+json)?")
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class Policy(StrEnum):
    """What an installation asks of models."""

    NONE = "none"
    IF_PRESENT = "if-present"
    REQUIRED = "required"


class Unsigned(ValueError):
    """The signature does not hold, or is none; the message says why."""


class _Descriptor(msgspec.Struct, frozen=True):
    name: str
    digest: Any = None
    algorithm: str = ""


class _Serialization(msgspec.Struct, frozen=True):
    method: str = ""
    hash_type: str = ""


class _Predicate(msgspec.Struct, frozen=True):
    serialization: _Serialization
    resources: list[_Descriptor]


class _Statement(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="_type")
    subject: list[_Descriptor]
    predicateType: str  # noqa: N815  # in-toto's name
    predicate: _Predicate


class _Signature(msgspec.Struct, frozen=True):
    sig: str


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815  # DSSE's name
    signatures: list[_Signature]


class _Bundle(msgspec.Struct, frozen=True):
    mediaType: str  # noqa: N815  # sigstore's name
    dsseEnvelope: _Envelope  # noqa: N815  # sigstore's name


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of somebody who may sign models. name: SHA-256 of its PEM, as bundles name it."""

    name: str
    public: "PublicKeyTypes"


def load_keys(text: str) -> Sequence[Key]:
    """The keys of a text with PEM blocks. Raises ValueError for what is none, and for kinds that cannot be used."""
    found = _PEM.findall(text)
    if text.strip() and not found:
        raise ValueError("no public key in PEM (-----BEGIN PUBLIC KEY-----) is in it")
    return [_key(pem) for pem in found]


def _key(pem: str) -> Key:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    public = serialization.load_pem_public_key(pem.encode())
    curve = public.curve.name if isinstance(public, ec.EllipticCurvePublicKey) else None
    if not isinstance(public, ed25519.Ed25519PublicKey) and curve not in {"secp256r1", "secp384r1", "secp521r1"}:
        raise ValueError("a key is neither EC P-256, P-384, P-521 nor Ed25519")
    shape = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(hashlib.sha256(public.public_bytes(*shape)).hexdigest(), public)


def verify(bundle: bytes, keys: Sequence[Key], files: Mapping[str, str]) -> Key:
    """Whose signature it is, over exactly these files (SHA-256 in hex by path, without the signature). Raises Unsigned.

    Files that were signed and not fetched are another matter: a pull may take one weight format of several.
    """
    payload, signatures = _opened(bundle)
    key = next((key for key in keys if any(_holds(key, payload, signature) for signature in signatures)), None)
    if key is None:
        raise Unsigned("it is signed by none of the keys that this installation trusts (TORPOR_SIGNATURE_KEYS)")
    signed = _digests(payload)
    for path, sha256 in sorted(files.items()):
        if path not in signed:
            raise Unsigned(f"{path} is not among the files that were signed")
        if signed[path] != sha256:
            raise Unsigned(f"{path} has sha256 {sha256}, and {signed[path]} was signed")
    return key


def _opened(bundle: bytes) -> tuple[bytes, list[bytes]]:
    try:
        document = msgspec.json.decode(bundle, type=_Bundle)
        payload = base64.b64decode(document.dsseEnvelope.payload, validate=True)
        signatures = [base64.b64decode(each.sig, validate=True) for each in document.dsseEnvelope.signatures]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error, ValueError) as error:
        raise Unsigned(f"it is no sigstore bundle with a DSSE envelope: {error}") from error
    if not _BUNDLE.fullmatch(document.mediaType) or document.dsseEnvelope.payloadType != PAYLOAD_TYPE:
        raise Unsigned(
            f"it is a {ascii(document.mediaType)[:80]} around {ascii(document.dsseEnvelope.payloadType)[:80]}"
        )
    return payload, signatures


def _holds(key: Key, payload: bytes, signature: bytes) -> bool:
    """DSSE's pre-authentication encoding is what is signed; EC keys take the hash of their size (P-256: SHA-256, ...)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    try:
        if isinstance(key.public, ed25519.Ed25519PublicKey):
            key.public.verify(signature, message)
        elif isinstance(key.public, ec.EllipticCurvePublicKey):
            sizes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
            key.public.verify(signature, message, ec.ECDSA(sizes[key.public.curve.key_size]))
    except InvalidSignature:
        return False
    return True


def _digests(payload: bytes) -> Mapping[str, str]:
    """What was signed: SHA-256 by path. Called once the signature holds, so what is odd here is the signer's doing."""
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unsigned(f"what was signed is no statement about a model: {error}") from error
    if (statement.type, statement.predicateType) != (_STATEMENT, _PREDICATE):
        raise Unsigned(f"what was signed is a {ascii(statement.predicateType)[:80]}, not a model's signature 1.0")
    how = statement.predicate.serialization
    resources = statement.predicate.resources
    if how.method != "files" or any(each.algorithm != "sha256" for each in resources):
        raise Unsigned(
            f"it signs {ascii(how.method)[:40]} by {ascii(how.hash_type)[:40]}: sign whole files by sha256, "
            "as `model_signing sign key` does by default"
        )
    found = {each.name: str(each.digest) for each in resources}
    root = hashlib.sha256(b"".join(_raw(each) for each in resources)).hexdigest()
    named = statement.subject[0].digest if len(statement.subject) == 1 else None
    if len(found) != len(resources) or not isinstance(named, dict) or named.get("sha256") != root:
        raise Unsigned(
            "the statement contradicts itself: a file is listed twice, or its digest of all files is another"
        )
    return found


def _raw(resource: _Descriptor) -> bytes:
    try:
        return bytes.fromhex(str(resource.digest))
    except ValueError as error:
        raise Unsigned(f"the statement has no usable digest of {ascii(resource.name)[:120]}") from error
