"""A small server that speaks Torpor's routes, and somebody who types commands. Used by the tests of `kn model`."""

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from kn_model.cli import cli

TOKEN = "a-token"

SERVER: dict[str, Any] = {
    "uuid": "s-1",
    "name": "tiny",
    "model_uuid": "m-1",
    "model_name": "Tiny",
    "namespace": "torpor",
    "status": "ready",
    "revision": "tiny-00001",
    "endpoint": "http://tiny.torpor.svc.cluster.local",
    "gateway_url": "http://front/m/tiny/v1",
    "error": None,
    "replicas": 0,
    "memory_max_mb": 2048,
    "params": {},
    "created_at": "2026-01-31T12:00:00Z",
}
FILE: dict[str, Any] = {
    "path": "model.safetensors",
    "size": 2_000_000,
    "sha256": "ab" * 32,
    "status": "verified",
    "bytes_done": 2_000_000,
    "rate_bps": 0.0,
    "eta_s": 0.0,
    "error": None,
}
MODEL: dict[str, Any] = {
    "uuid": "m-1",
    "name": "Tiny",
    "source": "hf://owner/Tiny",
    "revision": "c0ffee",
    "status": "available",
    "error": None,
    "error_code": None,
    "bytes_done": 2_000_000,
    "bytes_total": 2_000_000,
    "rate_bps": 0.0,
    "eta_s": None,
    "created_at": "2026-01-31T12:00:00Z",
    "server": SERVER,
    "files": [FILE],
}


def sse(*words: str) -> bytes:
    """A streamed chat completion."""
    chunks = [json.dumps({"choices": [{"delta": {"content": word}}]}) for word in words]
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()


def problem(status: int, title: str, detail: str) -> tuple[int, Any]:
    """A problem document."""
    return status, {"type": "urn:torpor:problem:x", "title": title, "status": status, "detail": detail}


@dataclass
class Fake:
    """Answers by "METHOD /path"; a list of answers is given one after another, its last for ever."""

    answers: dict[str, list[tuple[int, Any]]]
    seen: list[tuple[str, Any, str]] = field(default_factory=list)
    url: str = ""

    def on(self, call: str, *answers: tuple[int, Any]) -> None:
        """Answer `call` so."""
        self.answers[call] = list(answers)

    def answer(self, call: str, body: Any, authorization: str) -> tuple[int, Any]:
        """The next answer for this call."""
        self.seen.append((call, body, authorization))
        queue = self.answers.get(call)
        if queue is None:
            return problem(404, "Nothing is here", f"{call} is not known to the fake")
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def bodies(self, call: str) -> list[Any]:
        """What was sent with this call."""
        return [body for seen, body, _ in self.seen if seen == call]


def handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    """The fake over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.split("?")[0]
            status, value = fake.answer(f"{self.command} {path}", body, self.headers.get("authorization", ""))
            if not status:
                return  # the connection ends without an answer
            content = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            if status == 503:
                self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815  # the names http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Keep the test's output clean."""

    return Handler


@dataclass
class Person:
    """Somebody who types commands, with a home of their own."""

    home: Path
    environ: dict[str, str]

    def types(self, *arguments: str, stdin: str = "") -> Result:
        """Run `kn model <arguments>`."""
        return CliRunner().invoke(cli, list(arguments), input=stdin, env=self.environ, prog_name="kn model")

    def gets(self, *arguments: str) -> Any:
        """The JSON that a command which succeeds prints."""
        result = self.types(*arguments, "-o", "json")
        assert (result.exit_code, result.exception) == (0, None), result.output
        return json.loads(result.stdout)
