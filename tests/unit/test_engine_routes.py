"""What passes the edge, decided on bytes alone."""

import json

import pytest

from functions.serve.engine import routes
from functions.serve.engine.routes import Refusal


def refused(method: str, path: bytes) -> int:
    """The status with which a request is refused; 0 when it is not."""
    try:
        routes.decide(method, path)
    except Refusal as refusal:
        return refusal.status
    return 0


def test_every_listed_route_takes_its_method() -> None:
    """The table itself."""
    assert [refused(route.method, path) for path, route in routes.ROUTES.items()] == [0] * len(routes.ROUTES)


@pytest.mark.parametrize(
    "path", [b"", b"/v1/Models", b"/v1/models?x", b"/v1/models#", b"/v1/models ", b"/v1/models\x00"]
)
def test_no_other_spelling_is_a_route(path: bytes) -> None:
    """Byte for byte: a router that folds spellings sits behind this one."""
    assert refused("GET", path) == 404


CHOSEN = [
    pytest.param("", [b"/v1/completions", b"/v1/embeddings"], id="nothing said: all"),
    pytest.param('["/v1/embeddings"]', [b"/v1/embeddings"], id="vectors alone"),
    pytest.param('["/v1/rerank"]', [b"/v1/rerank"], id="one that only the runtime's file knows"),
]


@pytest.mark.parametrize(("paths", "expected"), CHOSEN)
def test_an_engine_takes_what_its_runtime_lists(paths: str, expected: list[bytes]) -> None:
    """Health and the list of models are always there; whatever else costs tokens needs an identity and is counted."""
    table = routes.chosen(paths)
    posted = [path for path in (b"/v1/completions", b"/v1/embeddings", b"/v1/rerank") if path in table]
    assert (posted, {table[path] for path in posted}) == (expected, {routes.Route("POST", generates=True)})
    assert [routes.decide("GET", path, table).generates for path in (b"/health", b"/v1/models")] == [False, False]


def test_only_health_is_open() -> None:
    """A new route needs an identity unless somebody says otherwise."""
    assert [path for path, route in routes.ROUTES.items() if not route.needs_identity] == [b"/health"]


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"X-Torpor-Subject",
        b"x_torpor_role",
        b"X.Torpor.Role",
        b"X-Request-Id",
        b"X-data-parallel-rank",
        b"Cookie",
    ],
)
def test_identity_headers_do_not_pass(name: bytes) -> None:
    """The engine sees no credential, and no header that a client could use to give orders (A14)."""
    assert routes.passed([(name, b"1"), (b"Accept", b"*/*")], "id") == [(b"Accept", b"*/*"), (b"x-request-id", b"id")]


def test_two_authorization_headers_are_refused() -> None:
    """Which one would be meant?"""
    with pytest.raises(Refusal) as caught:
        routes.authorization([(b"Authorization", b"a"), (b"authorization", b"b")])
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("wish", "choices"),
    [
        ({}, 1),
        ({"n": 4}, 4),
        ({"prompt": ["a", "b"], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1], [2]]}, 2),
        ({"best_of": 3}, 3),
        ({"input": ["a"] * 20}, 1),
    ],
)
def test_choices_are_counted(wish: dict[str, object], choices: int) -> None:
    """How many generations a request asks for."""
    assert routes.check_body(json.dumps(wish).encode(), 8, 20) == choices


@pytest.mark.parametrize(
    "body",
    [
        b'{"n": 9}',
        b'{"n": 1, "n": 9}',
        b'{"n": 9.0}',
        b'{"n": "9"}',
        b'{"n": true}',
        b'{"best_of": 9}',
        b'{"prompt": ["a", "b", "c"], "n": 3}',
        b'{"input": ["a", "a", "a", "a", "a", "a", "a", "a", "a", "a"]}',
    ],
)
def test_too_many_are_refused(body: bytes) -> None:
    """In every spelling that the engine's own parser would take for a number."""
    with pytest.raises(Refusal) as caught:
        routes.check_body(body, 8, 9)
    assert (caught.value.status, caught.value.code) == (400, "invalid_value")


def test_refusal_has_the_shape_of_openai() -> None:
    """Clients map these members to exceptions."""
    body = json.loads(Refusal(403, "no", "forbidden").body())
    assert body == {"error": {"message": "no", "type": "permission_error", "param": None, "code": "forbidden"}}
