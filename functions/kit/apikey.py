"""API keys: their format and digest. Created by auth, recognised by every function and engine.

`tpk_<8 key id>_<32 secret><6 checksum>`: letters and digits only. The secret has 190 random bits, so its SHA-256 is
safe to store (OWASP ASVS 6.5.2 allows it from 112 bits); the CRC-32 refuses a mistyped key without a look-up, and
lets scanners of leaked secrets recognise one.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

PREFIX: Final = "tpk_"
ID_LENGTH: Final = 8
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM: Final = re.compile(
    rf"tpk_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


def generate() -> str:
    """A fresh key."""
    body = f"{PREFIX}{_random(ID_LENGTH)}_{_random(SECRET_LENGTH)}"
    return body + _checksum(body)


def looks_like_one(text: str) -> bool:
    """Whether this claims to be an API key (a token never starts like one)."""
    return text.startswith(PREFIX)


def well_formed(key: str) -> bool:
    """Whether form and checksum are right: says nothing about the key's existence."""
    return _FORM.fullmatch(key) is not None and _checksum(key[:-CHECKSUM_LENGTH]) == key[-CHECKSUM_LENGTH:]


def key_id(key: str) -> str:
    """The public part, by which a key is looked up, listed and logged."""
    return key[len(PREFIX) : len(PREFIX) + ID_LENGTH]


def digest(key: str) -> bytes:
    """What is stored of the key: 32 bytes. Compare with `hmac.compare_digest`."""
    return hashlib.sha256(key.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
