"""The two sources of a `Verifier` for everybody but auth: auth's JWKS and auth's verdict on API keys, over HTTP, cached.

On the hot path neither asks anybody: a JWKS is kept ten minutes (and as long as auth does not answer), an API key's
verdict thirty seconds, which is therefore the longest that a revoked key still works.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from functions.kit import trace
from functions.kit.identity import Identity, Verifier
from functions.kit.problem import Retry

JWKS_TTL_S: Final = 600.0
# An unknown key id may be a rotation: look again, but never more often than this, or forged ids would flood auth.
JWKS_COOL_DOWN_S: Final = 30.0
API_KEY_TTL_S: Final = 30.0
# Unknown keys are remembered too, so that guessing does not flood auth; bounded like the good ones.
API_KEYS_KEPT: Final = 4096
# auth may have to start first: its cold start, with room.
TIMEOUT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 65_536
_OK: Final = 200
_REFUSED: Final = frozenset({401, 403})
_LOG = logging.getLogger("torpor.identity")


class _Verdict(msgspec.Struct):
    subject: str
    role: str
    models: tuple[str, ...]
    actions: tuple[str, ...]
    key_id: str | None = None


class Get(Protocol):
    """GETs an address of auth: status and body."""

    async def __call__(self, url: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Raises Retry when nobody answers."""


class Fetch:
    """GET with one kept-alive session: status and body, bounded, without redirects. Opened at first use."""

    def __init__(self) -> None:
        self._session: Any = None

    async def __call__(self, url: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Raises Retry when nobody answers or the answer is too large."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            headers = {**headers, "traceparent": trace.current()}
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                body = await response.content.read(MAX_ANSWER_BYTES + 1)
                while len(body) <= MAX_ANSWER_BYTES and not response.content.at_eof():
                    body += await response.content.read(MAX_ANSWER_BYTES + 1 - len(body))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(2, f"auth does not answer ({type(error).__name__}); try again") from error
        if len(body) > MAX_ANSWER_BYTES:
            raise Retry(2, "auth's answer is larger than it can be")
        return response.status, body


class RemoteKeys:
    """KeySource over a JWKS address."""

    def __init__(self, url: str, fetch: Get, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")

    async def key(self, kid: str) -> Any | None:
        """See KeySource. Keys once seen stay valid while auth cannot be asked."""
        now = self._clock()
        fresh = now - self._fetched_at < JWKS_TTL_S
        cooling = now - self._asked_at < JWKS_COOL_DOWN_S
        if (kid in self._keys and fresh) or (self._keys and cooling):
            return self._keys.get(kid)
        await self._refresh(now)
        return self._keys.get(kid)

    async def _refresh(self, now: float) -> None:
        self._asked_at = now
        try:
            self._keys = await self._ask()
            self._fetched_at = now
        except Retry as problem:
            if not self._keys:
                raise
            _LOG.warning("the public keys could not be refreshed; those at hand stay valid: %s", problem.detail)

    async def _ask(self) -> dict[str, Any]:
        status, body = await self._fetch(self._url, {"accept": "application/json"})
        if status != _OK:
            raise Retry(2, f"auth answered {status} for its public keys; try again")
        return public_keys(body)


def public_keys(jwks: bytes) -> dict[str, Any]:
    """The usable keys of a JWKS by key id: signing keys with an id and one algorithm; anything else is left out."""
    import jwt

    try:
        entries = msgspec.json.decode(jwks, type=dict[str, list[dict[str, Any]]]).get("keys", [])
        loaded = [jwt.PyJWK.from_dict(entry) for entry in entries if _is_public_signing_key(entry)]
    except (msgspec.MsgspecError, jwt.PyJWTError, ValueError) as error:
        raise Retry(2, "auth's public keys cannot be read") from error
    return {str(key.key_id): key for key in loaded}


def _is_public_signing_key(entry: dict[str, Any]) -> bool:
    asymmetric = entry.get("kty") in {"OKP", "EC", "RSA"}
    return asymmetric and "d" not in entry and isinstance(entry.get("kid"), str) and entry.get("use", "sig") == "sig"


class RemoteApiKeys:
    """ApiKeySource over auth's verify address."""

    def __init__(self, url: str, fetch: Get, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._verdicts: dict[bytes, tuple[float, Identity | None]] = {}

    async def identity(self, key: str) -> Identity | None:
        """See ApiKeySource. The verdict is kept for API_KEY_TTL_S."""
        digest = hashlib.sha256(key.encode()).digest()
        known = self._verdicts.get(digest)
        now = self._clock()
        if known is not None and now < known[0]:
            return known[1]
        verdict = await self._ask(key, now)
        if len(self._verdicts) >= API_KEYS_KEPT:
            self._verdicts.pop(next(iter(self._verdicts)))
        self._verdicts[digest] = (now + API_KEY_TTL_S, verdict)
        return verdict

    async def _ask(self, key: str, now: float) -> Identity | None:
        status, body = await self._fetch(self._url, {"authorization": f"Bearer {key}"})
        if status in _REFUSED:
            return None
        if status != _OK:
            raise Retry(2, f"auth answered {status} about an API key; try again")
        try:
            verdict = msgspec.json.decode(body, type=_Verdict)
        except msgspec.MsgspecError as error:
            raise Retry(2, "auth's verdict cannot be read") from error
        return Identity(
            verdict.subject, verdict.role, verdict.models, verdict.actions, now + API_KEY_TTL_S, verdict.key_id
        )


def verifier(jwks_url: str, verify_url: str) -> Verifier:
    """The Verifier of a function or an engine."""
    fetch = Fetch()
    return Verifier(RemoteKeys(jwks_url, fetch), RemoteApiKeys(verify_url, fetch))
