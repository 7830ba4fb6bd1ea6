"""Password hashes: argon2id, a bounded number at once, and the same work for a name that nobody has.

`logins` verifies with it, `users` and `setup` hash with it. One hash takes 19 MiB and about 30 ms, so a flood of
log-ins would be a flood of memory: whoever wants to hash takes a turn first, and when all turns are taken gets 429.
"""

import asyncio
import base64
import contextlib
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from functions.kit.problem import BadRequest, TooManyRequests

if TYPE_CHECKING:
    from argon2 import PasswordHasher

P = ParamSpec("P")
T = TypeVar("T")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
# argon2-cffi's defaults; needed here to spell a hash that no password has.
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
# Two hashes at once keep two cores busy and the function's memory bounded.
AT_ONCE: Final = 2
# 16 waiting calls are a quarter of a second; who would wait longer is better told to come back.
QUEUE: Final = 16
BUSY_RETRY_AFTER_S: Final = 1
# Long enough for any passphrase; hashing costs the same, so this only bounds what is normalised and kept.
MAX_PASSWORD_BYTES: Final = 1024
# NIST SP 800-63B asks for 8 at least.
MIN_PASSWORD_CHARACTERS: Final = 8


class TooManyLogins(TooManyRequests):
    """Too many passwords are being checked"""


class UnusablePassword(BadRequest):
    """The password cannot be used"""


def normalise(password: str) -> bytes:
    """The bytes that are hashed: NFKC, so that a password typed on another keyboard is the same one (SP 800-63B).

    Never truncated. Raises UnusablePassword past MAX_PASSWORD_BYTES and for text that has no UTF-8 form.
    """
    if len(password) > MAX_PASSWORD_BYTES:  # before normalising, whose cost grows with the text
        raise UnusablePassword(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    try:
        raw = unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError as error:
        raise UnusablePassword("the password is not valid Unicode text") from error
    if len(raw) > MAX_PASSWORD_BYTES:
        raise UnusablePassword(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    return raw


def acceptable(password: str) -> str:
    """A password that may be set. Raises UnusablePassword for one that is too short or too long."""
    if len(normalise(password).decode()) < MIN_PASSWORD_CHARACTERS:
        raise UnusablePassword(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    return password


class Turn:
    """The right to hash, given by `Passwords.turn` until its block ends."""

    def __init__(self, passwords: "Passwords") -> None:
        self._passwords = passwords

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash of `password`, with a fresh salt."""
        return await self._passwords.work(self._passwords.hasher.hash, normalise(password))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `password` has the hash `stored`. None, for a name nobody has, takes as long and is never right."""
        wanted = stored or _nobodys_hash()
        right = await self._passwords.work(self._passwords.verify, wanted, normalise(password))
        return right and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether `stored` was made with other parameters than today's, and should be made anew."""
        return self._passwords.hasher.check_needs_rehash(stored)


class Passwords:
    """Hashes in its own threads: their number bounds the memory, the queue before them the waiting."""

    def __init__(self, *, at_once: int = AT_ONCE, queue: int = QUEUE) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._limit = at_once + queue
        self._taken = 0
        self._hasher: PasswordHasher | None = None

    @property
    def hasher(self) -> "PasswordHasher":
        """argon2, imported at the first password."""
        if self._hasher is None:
            from argon2 import PasswordHasher

            self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, HASH_BYTES, SALT_BYTES)
        return self._hasher

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait in line to hash. Raises TooManyLogins (429, Retry-After) at once when the line is full."""
        if self._taken >= self._limit:
            raise TooManyLogins(
                "many log-ins arrive at once; try again in a moment", headers={"Retry-After": str(BUSY_RETRY_AFTER_S)}
            )
        self._taken += 1
        try:
            yield Turn(self)
        finally:
            self._taken -= 1

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in one of the hashing threads (argon2 releases the interpreter lock)."""
        return await asyncio.wrap_future(self._threads.submit(call, *args, **kwargs))

    def verify(self, stored: str, raw: bytes) -> bool:
        """Whether `raw` has the hash `stored`; a stored text that is no hash matches nothing."""
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self.hasher.verify(stored, raw)
        except (VerificationError, InvalidHashError):
            return False


def _nobodys_hash() -> str:
    """A well-formed hash with today's parameters and no known password: verifying against it costs what a real one does."""
    salt, digest = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"
