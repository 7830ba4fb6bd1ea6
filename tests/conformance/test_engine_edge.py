"""Who gets in and what passes, whichever engine is behind the edge."""

import http.client
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.engines import MODEL, SERVER, Engine

ASK = {"model": SERVER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


def ask(engine: Engine, credential: str) -> httpx.Response:
    """One short question with this Authorization header."""
    with engine.client(credential) as client:
        return client.post("/v1/chat/completions", json=ASK)


def test_token_gets_in(engine: Engine) -> None:
    """A user's token may infer."""
    assert ask(engine, f"Bearer {engine.platform.token()}").status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "APIKEY"])
def test_api_key_gets_in(engine: Engine, scheme: str) -> None:
    """An API key works with either scheme: OpenAI's clients send Bearer."""
    assert ask(engine, f"{scheme} {engine.platform.api_key()}").status_code == 200


@pytest.mark.parametrize("credential", ["", "Bearer x.y.z", "Basic YTpi", "Bearer tpk_0_0", "Bearer"])
def test_without_credential_is_401(engine: Engine, credential: str) -> None:
    """Whatever is no valid credential is refused in OpenAI's error shape, with a challenge."""
    answer = ask(engine, credential)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "www-authenticate" in answer.headers


def test_expired_token_is_401(engine: Engine) -> None:
    """A token's end is its end."""
    now = int(time.time())
    assert ask(engine, f"Bearer {engine.platform.token(iat=now - 120, exp=now - 60)}").status_code == 401


def test_key_for_another_model_is_403(engine: Engine) -> None:
    """A key that covers other models only does not cover this one."""
    answer = ask(engine, f"Bearer {engine.platform.api_key(models=['other'])}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("name", [SERVER, MODEL])
def test_key_for_this_model_gets_in(engine: Engine, name: str) -> None:
    """A key may name the server or the model."""
    assert ask(engine, f"Bearer {engine.platform.api_key(models=[name])}").status_code == 200


def test_key_that_may_only_read_is_403(engine: Engine) -> None:
    """Inference is an action of its own."""
    assert ask(engine, f"Bearer {engine.platform.api_key(actions=['read'])}").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/version",
        "/ping",
        "/invocations",
        "/tokenize",
        "/load",
        "/v1/responses",
        "/v1/messages",
        "/v1/models/",
        "/v1/models/x",
        "//v1/models",
        "/v1//models",
        "/v1/./models",
        "/v1/%6dodels",
        "/v1/models%2e",
        "/v1/models;x",
        "/V1/models",
        "/health/",
        "/%2e%2e/health",
        "/inference/v1/generate",
        "/scale_elastic_ep",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_404(engine: Engine, method: str, path: str) -> None:
    """Nothing but the listed paths exists, in no spelling, with a valid token all the same."""
    status, body = raw(engine, method, path)
    assert (status, b'"not_found"' in body) == (404, True)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/models"), ("GET", "/v1/completions"), ("OPTIONS", "/health")]
)
def test_other_methods_are_405(engine: Engine, method: str, path: str) -> None:
    """A listed path takes its one method."""
    assert raw(engine, method, path)[0] == 405


def test_host_header_changes_nothing(engine: Engine) -> None:
    """`Host: a/?x=` has changed paths in frameworks before (CVE-2026-48710); the decision is on the path alone."""
    assert raw(engine, "GET", "/metrics", {"Host": "a/health?x="})[0] == 404


def test_websocket_is_refused(engine: Engine) -> None:
    """There is no other way in than HTTP."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eA==",
    }
    assert raw(engine, "GET", "/v1/realtime", upgrade)[0] in {400, 403, 404}


def test_large_body_is_413(engine: Engine) -> None:
    """A request larger than the limit is refused while it arrives."""
    with engine.client() as client:
        answer = client.post("/v1/chat/completions", content=iter([b" " * 1024 * 1024] * 5))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/v1/chat/completions", {"n": 17}),
        ("/v1/chat/completions", {"n": "17"}),
        ("/v1/completions", {"prompt": ["a"] * 17}),
        ("/v1/completions", {"prompt": ["a"] * 9, "n": 2}),
        ("/v1/completions", {"prompt": "a", "best_of": 17}),
        ("/v1/embeddings", {"input": ["a"] * 513}),
    ],
)
def test_multipliers_are_bounded(engine: Engine, path: str, wish: dict[str, object]) -> None:
    """One request may not cost as much as hundreds."""
    with engine.client() as client:
        answer = client.post(path, json={**ASK, **wish})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def raw(engine: Engine, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """A request whose path no client library has tidied up."""
    address = urlsplit(engine.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    sent = {"Authorization": f"Bearer {engine.platform.token()}", "Content-Length": "0", **(headers or {})}
    try:
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
