"""What an engine talks to, small enough for a test: auth's keys and verdicts, and a Broker that keeps what it is sent.

Real HTTP on loopback, because the engine is another process.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from functions.kit import apikey
from functions.kit.identity import AUDIENCE, ISSUER, TOKEN_TYPE

KEY_ID = "conformance"


@dataclass
class Platform:
    """Keys that sign, API keys by what they stand for, and the events that arrived."""

    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    api_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def token(self, *, role: str = "user", models: tuple[str, ...] = ("*",), **claims: Any) -> str:
        """A signed token, an hour long unless the claims say otherwise."""
        now = int(time.time())
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "role": role,
            "models": models,
            "jti": "1",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            **claims,
        }
        return jwt.encode(payload, self.signing_key, algorithm="EdDSA", headers={"kid": KEY_ID, "typ": TOKEN_TYPE})

    def api_key(self, **verdict: Any) -> str:
        """A key that the verify address knows."""
        key = apikey.generate()
        known = {"subject": "ada", "role": "user", "models": ["*"], "actions": ["infer"], "key_id": apikey.key_id(key)}
        self.api_keys[key] = {**known, **verdict}
        return key

    def records(self) -> list[dict[str, Any]]:
        """All usage records that arrived."""
        return [record for _, data in list(self.events) for record in data.get("records", ())]

    def jwks(self) -> dict[str, Any]:
        """The public keys as auth publishes them."""
        public = jwt.algorithms.OKPAlgorithm.to_jwk(self.signing_key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": KEY_ID, "alg": "EdDSA", "use": "sig"}]}


def serve(platform: Platform) -> ThreadingHTTPServer:
    """Listen on a free port and set `platform.url`. The caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/jwks.json":
                return self._say(200, platform.jwks())
            verdict = platform.api_keys.get(self.headers.get("authorization", "").partition(" ")[2])
            return self._say(200, verdict) if verdict else self._say(401, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            platform.events.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def _say(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Be quiet: a test's output is its result."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    platform.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
