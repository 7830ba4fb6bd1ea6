"""HTTP to Torpor's front door: JSON in and out, problems turned into failures. Every command goes through here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from kn_model.failure import Exit, Failure

# A function asleep answers its first call after about a second; the engine's calls set their own limit.
READ_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
# How long a call is repeated while the answer is «later» (503): a function or the database that starts.
PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 0.5

_UNAUTHORIZED: Final = 401
_LATER: Final = 503
_CODES: Final = {
    401: Exit.NOT_LOGGED_IN,
    403: Exit.NOT_LOGGED_IN,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    422: Exit.REFUSED,
}
_ADVICE: Final = {
    401: "Log in again: kn model login",
    403: "Ask an administrator for a role or a key that may do this.",
    503: "Try again in a moment; if it lasts, look at the logs: kn model logs",
}


class Client:
    """Calls with one token. `renew` answers a fresh token when the old one has expired, or None."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        renew: Callable[[], str | None] = lambda: None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._sleep = sleep
        self._renew = renew
        self._http = httpx.Client(
            base_url=url,
            transport=transport,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # The address of a login is exact; a proxy from the environment has no business on loopback.
            trust_env=not _is_loopback(url),
        )
        self._use(token)

    def get(self, path: str, *, patience_s: float = PATIENCE_S, **query: str | int) -> Any:
        """The JSON at `path`. Raises Failure."""
        return _json(self._call("GET", path, patience_s, params=query))

    def items(self, path: str, member: str, **query: Any) -> list[Any]:
        """All items of a paginated list."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(path, **query, limit=200, cursor=cursor)
            found += page[member]
            cursor = page.get("next_cursor")
        return found

    def post(self, path: str, body: Any, *, idempotency_key: str = "") -> Any:
        """POST JSON; answers the JSON of a 2xx. Raises Failure."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return _json(self._call("POST", path, json=body, headers=headers))

    def patch(self, path: str, body: Any) -> Any:
        """PATCH JSON; answers the JSON of a 2xx. Raises Failure."""
        return _json(self._call("PATCH", path, json=body))

    def delete(self, path: str) -> Any:
        """DELETE; answers the JSON of a 2xx, None without any. Raises Failure."""
        return _json(self._call("DELETE", path))

    @contextmanager
    def stream(self, path: str, body: Any, timeout_s: float) -> Iterator[httpx.Response]:
        """POST JSON and read the answer as it comes; `timeout_s` bounds the wait for its beginning and every gap."""
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        with self._reachable(), self._http.stream("POST", path, json=body, timeout=timeout) as response:
            if response.status_code == _UNAUTHORIZED:
                response.read()
            yield response

    def refresh(self) -> bool:
        """Take a fresh token where one can be had without asking."""
        token = self._renew()
        if token is None:
            return False
        self._use(token)
        return True

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _use(self, token: str) -> None:
        if token:
            self._http.headers["authorization"] = f"Bearer {token}"

    def _call(self, method: str, path: str, patience_s: float = PATIENCE_S, **options: Any) -> httpx.Response:
        """One call, made again for `patience_s` seconds while the answer says that nothing was done yet."""
        deadline = time.monotonic() + patience_s
        while True:
            response = self._send(method, path, **options)
            if not _asks_for_patience(response) or time.monotonic() >= deadline:
                return response
            self._sleep(_PAUSE_S)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._reachable():
            response = self._http.request(method, path, **options)
            if response.status_code == _UNAUTHORIZED and self.refresh():
                response = self._http.request(method, path, **options)
            return response

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise not_running(self.url, str(error)) from error
        except httpx.TimeoutException as error:
            raise Failure(
                f"{self.url} did not answer in time", why=type(error).__name__, do="Try again.", code=Exit.TIMED_OUT
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failure(
                f"the connection to {self.url} broke", why=str(error), do="Try again.", code=Exit.NOT_RUNNING
            ) from error


def not_running(url: str, why: str) -> Failure:
    """Nobody listens at the address."""
    do = "Start the runtime: kn model up" if _is_loopback(url) else "Check the address and your network."
    return Failure(f"nothing answers at {url}", why=why, do=do, code=Exit.NOT_RUNNING)


def _asks_for_patience(response: httpx.Response) -> bool:
    """503 with Retry-After: not done, worth repeating (RFC 9110, 10.2.3). Reads may be repeated after any 503."""
    reads = response.request.method == "GET"
    return response.status_code == _LATER and (reads or "retry-after" in response.headers)


def _is_loopback(url: str) -> bool:
    try:
        return httpx.URL(url).host in {"127.0.0.1", "localhost", "::1"}
    except httpx.InvalidURL:
        return False


def _json(response: httpx.Response) -> Any:
    if not response.is_success:
        raise failure(response)
    return response.json() if response.content else None


def failure(response: httpx.Response) -> Failure:
    """The Failure for an answer that is none: a problem document, or the OpenAI error shape, or neither."""
    title, detail = _explain(response)
    status = response.status_code
    return Failure(
        title or f"{response.request.method} {response.request.url.path} was answered {status}",
        why=detail,
        do=_ADVICE.get(status, ""),
        code=_CODES.get(status, Exit.FAILED),
    )


def _explain(response: httpx.Response) -> tuple[str, str]:
    """Title and detail of the answer's body, empty where it has none."""
    try:
        document = response.json()
    except ValueError:
        return "", response.text[:500].strip()
    if not isinstance(document, dict):
        return "", ""
    if isinstance(document.get("error"), dict):
        return "the engine refused the request", str(document["error"].get("message", ""))
    return str(document.get("title", "")), str(document.get("detail", ""))
