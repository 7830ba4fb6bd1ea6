"""`fake`: a Torpor with one served model. `person`: somebody who is logged in to it by environment."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.cli.fake import MODEL, SERVER, TOKEN, Fake, Person, handler, sse


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A Torpor with one served model."""
    found = Fake(
        {
            "GET /models": [(200, {"models": [MODEL | {"files": None}], "next_cursor": None})],
            "GET /models/m-1": [(200, MODEL)],
            "GET /models/Tiny": [(200, MODEL)],
            "GET /status": [(200, {"servers": [SERVER], "next_cursor": None})],
            "GET /status/tiny": [(200, SERVER)],
            "GET /status/s-1": [(200, SERVER)],
            "POST /models": [(202, MODEL | {"status": "downloading"})],
            "POST /serve": [(202, SERVER)],
            "DELETE /serve/tiny": [(202, SERVER)],
            "DELETE /models/m-1": [(204, None)],
            "POST /auth/token": [(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})],
            "POST /m/tiny/v1/chat/completions": [(200, sse("Pa", "ris"))],
        }
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def person(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Logged in by environment, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kn_model.follow.EVERY_S", 0.01)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "TORPOR_URL": fake.url, "TORPOR_TOKEN": TOKEN}
    return Person(tmp_path, environ)
