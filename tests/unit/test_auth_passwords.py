"""Passwords: what is hashed, how many at once, and how long a name is locked."""

import asyncio
import contextlib

import pytest

from functions.auth.backoff import FORGET_AFTER_S, FREE_ATTEMPTS, LOCK_S, LONGEST_LOCK_S
from functions.auth.passwords import (
    MAX_PASSWORD_BYTES,
    Passwords,
    TooManyLogins,
    UnusablePassword,
    _nobodys_hash,
    acceptable,
    normalise,
)


async def test_password_matches_its_hash_and_no_other() -> None:
    """The hash is argon2id, salted, and two of one password differ."""
    with Passwords().turn() as turn:
        first, second = await turn.hash("correct horse"), await turn.hash("correct horse")

        assert first.startswith("$argon2id$")
        assert first != second
        assert await turn.matches("correct horse", first)
        assert not await turn.matches("correct horsf", first)


async def test_long_passwords_are_not_truncated() -> None:
    """A19: the 1,024th byte still counts, where bcrypt would stop at 72."""
    long = "x" * (MAX_PASSWORD_BYTES - 1)
    with Passwords().turn() as turn:
        stored = await turn.hash(long + "a")

        assert await turn.matches(long + "a", stored)
        assert not await turn.matches(long + "b", stored)


async def test_nul_is_a_character_like_others() -> None:
    """A19: nothing ends at a NUL."""
    with Passwords().turn() as turn:
        assert not await turn.matches("secret\0b", await turn.hash("secret\0a"))


async def test_unicode_forms_of_one_text_are_one_password() -> None:
    """A19: composed or decomposed, as different keyboards send it, an accented letter is the same."""
    with Passwords().turn() as turn:
        assert await turn.matches("pre\u0301lude", await turn.hash("pr\u00e9lude"))


@pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "x" * 1_000_000, "\ufdfa" * 1000, "a\ud800"])
def test_password_that_cannot_be_hashed_is_refused(password: str) -> None:
    """A19: too many bytes, also after normalising, and text without a UTF-8 form."""
    with pytest.raises(UnusablePassword):
        normalise(password)


def test_short_password_cannot_be_set() -> None:
    """Eight characters at least; eight are enough."""
    assert acceptable("12345678") == "12345678"
    with pytest.raises(UnusablePassword, match="at least 8"):
        acceptable("1234567")


async def test_nobody_costs_a_real_hash_and_never_matches() -> None:
    """A17: the stand-in hash has today's parameters, so that verifying it is the same work."""
    import argon2

    passwords = Passwords()
    with passwords.turn() as turn:
        real = argon2.extract_parameters(await turn.hash("x"))

        assert argon2.extract_parameters(_nobodys_hash()) == real
        assert not await turn.matches("", None)
        assert not turn.is_outdated(_nobodys_hash())


async def test_garbage_in_the_database_matches_nothing() -> None:
    """A row that was written by hand with a plain text is a wrong password, not an error."""
    with Passwords().turn() as turn:
        assert not await turn.matches("plain", "plain")


async def test_full_line_is_refused_at_once() -> None:
    """A20: with all turns taken the next one gets 429 with Retry-After, and a turn that ends makes room."""
    passwords = Passwords(at_once=1, queue=1)
    with contextlib.ExitStack() as taken:
        taken.enter_context(passwords.turn())
        taken.enter_context(passwords.turn())
        with pytest.raises(TooManyLogins) as refused, passwords.turn():
            pass
        assert refused.value.headers["Retry-After"] == "1"

    with passwords.turn() as turn:
        assert await turn.hash("room again")


async def test_hashes_at_once_are_bounded() -> None:
    """A20: however many wait, no more than the bound run, which bounds the memory."""
    import threading
    import time

    passwords, running, most = Passwords(at_once=2, queue=10), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(passwords.work(work) for _ in range(10)))

    assert most == 2


def test_locks_grow_to_a_bound() -> None:
    """A18: a few mistakes are free, then each lock is at least as long as the one before, to a quarter of an hour."""
    assert LOCK_S[:FREE_ATTEMPTS] == (0,) * FREE_ATTEMPTS
    assert LOCK_S[FREE_ATTEMPTS] == 1
    assert list(LOCK_S) == sorted(LOCK_S)
    assert LOCK_S[-1] == LONGEST_LOCK_S == max(LOCK_S)
    assert FORGET_AFTER_S > LONGEST_LOCK_S
