"""The commands of `kn model` against a small server that speaks Torpor's routes: results, exit codes, messages."""

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kn_model.cli import COMMANDS, cli

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


@pytest.fixture
def person(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Logged in by environment, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kn_model.follow.EVERY_S", 0.01)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "TORPOR_URL": fake.url, "TORPOR_TOKEN": TOKEN}
    return Person(tmp_path, environ)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "keys"])
def test_every_command_has_help_with_examples(person: Person, command: str) -> None:
    """Somebody who has never seen the command can copy a line that works."""
    result = person.types(command, "--help")
    assert (result.exit_code, f"kn model {command}" in result.output, "--output" in result.output) == (0, True, True)


def test_the_help_names_commands_and_exit_codes(person: Person) -> None:
    """`kn model --help` is the table of contents."""
    output = person.types("--help").output
    assert [word for word in [*COMMANDS, "Exit codes"] if word not in output] == []


def test_calls_carry_the_token(person: Person, fake: Fake) -> None:
    """Who calls is said on every call."""
    person.types("ls")
    assert fake.seen == [("GET /models", None, f"Bearer {TOKEN}")]


def test_ls_shows_models_and_json_keeps_the_api_s_fields(person: Person) -> None:
    """A table for people, the records for programs."""
    lines = person.types("ls").stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["NAME", "STATUS", "SIZE", "SERVER"],
        ["Tiny", "available", "2.0", "MB"],
    ]
    assert person.gets("ls") == {"models": [MODEL | {"files": None}]}


def test_ls_reads_every_page(person: Person, fake: Fake) -> None:
    """A list is whole, however long."""
    first = {"models": [MODEL], "next_cursor": "abc"}
    fake.on("GET /models", (200, first), (200, {"models": [MODEL], "next_cursor": None}))
    assert len(person.gets("ls")["models"]) == 2


def test_ps_shows_what_sleeps(person: Person) -> None:
    """Name, status, replicas and the address."""
    line = person.types("ps").stdout.splitlines()[1]
    assert [line.split()[index] for index in (0, 2, 3, -1)] == ["tiny", "ready", "0", "http://front/m/tiny/v1"]


@pytest.mark.parametrize("name", ["Tiny", "tiny"])
def test_show_takes_the_name_of_a_model_or_of_its_server(person: Person, name: str) -> None:
    """People remember one of the two."""
    assert person.gets("show", name)["uuid"] == "m-1"


def test_pull_follows_the_model_until_it_is_served(person: Person, fake: Fake) -> None:
    """From downloading over available to ready, with a line per state on stderr and the result on stdout."""
    half = MODEL | {"status": "downloading", "bytes_done": 1_000_000, "rate_bps": 1e6, "eta_s": 1.0, "server": None}
    half["files"] = [FILE | {"status": "transferring", "bytes_done": 1_000_000, "rate_bps": 1e6, "eta_s": 1.0}]
    fake.on("GET /models/m-1", (200, half), (200, MODEL))
    fake.on("GET /status/s-1", (200, SERVER | {"status": "deploying"}), (200, SERVER))
    result = person.types("pull", "owner/Tiny")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "Tiny: downloading, 0 of 1 files verified, 1.0 MB of 2.0 MB, 1.0 MB/s, 1 s left",
        "Tiny: available, 1 of 1 files verified, 2.0 MB of 2.0 MB",
        "tiny: deploying",
        "tiny: ready",
    ]
    assert "Served as tiny" in result.stdout
    assert fake.bodies("POST /models") == [{"source": "hf://owner/Tiny", "serve": True}]


def test_pull_sends_what_the_options_say(person: Person, fake: Fake) -> None:
    """Every option has its place in the request."""
    options = ["--name", "t", "--include", "*.json", "--memory", "2048", "--max-model-len", "512", "--param", "seed=7"]
    person.types("pull", "https://host/file", *options, "--min", "0", "--window", "10", "--no-wait")
    assert fake.bodies("POST /models") == [
        {
            "source": "https://host/file",
            "name": "t",
            "include": ["*.json"],
            "serve": {
                "memory_mb": 2048,
                "params": {"seed": 7, "max_model_len": 512},
                "scale": {"min": 0, "window_s": 10},
            },
        }
    ]


def test_pull_without_serving_ends_when_the_model_is_verified(person: Person, fake: Fake) -> None:
    """--no-serve asks for no server and waits for none."""
    fake.on("GET /models/m-1", (200, MODEL | {"server": None}))
    assert person.types("pull", "owner/Tiny", "--no-serve").exit_code == 0
    assert fake.bodies("POST /models")[0]["serve"] is False


def test_a_pull_that_fails_says_why(person: Person, fake: Fake) -> None:
    """The record's reason reaches the person, with exit code 1."""
    fake.on("GET /models/m-1", (200, MODEL | {"status": "failed", "error": "sha256 of a.safetensors differs"}))
    result = person.types("pull", "owner/Tiny")
    assert (result.exit_code, "sha256 of a.safetensors differs" in result.stderr) == (1, True)


def test_a_pull_that_waits_for_its_source_says_so(person: Person, fake: Fake) -> None:
    """A hub that is down shows while it is waited for, not after."""
    waiting = MODEL | {"status": "downloading", "error": "the hub does not answer; trying again", "files": []}
    fake.on("GET /models/m-1", (200, waiting), (200, MODEL))
    assert "the hub does not answer; trying again" in person.types("pull", "owner/Tiny").stderr


def test_a_server_that_fails_says_why(person: Person, fake: Fake) -> None:
    """The cluster's reason reaches the person."""
    fake.on("GET /status/s-1", (200, SERVER | {"status": "failed", "error": "0/1 nodes: Insufficient cpu"}))
    result = person.types("pull", "owner/Tiny")
    assert (result.exit_code, "Insufficient cpu" in result.stderr) == (1, True)


@pytest.mark.parametrize("source", ["Tiny", "-x/y", "a b/c", "owner/"])
def test_a_source_that_is_none_is_wrong_usage(person: Person, fake: Fake, source: str) -> None:
    """Said before anything is sent."""
    assert (person.types("pull", "--", source).exit_code, fake.seen) == (2, [])


def test_serve_answers_the_record(person: Person, fake: Fake) -> None:
    """The model's name goes as it is: the function finds it."""
    assert person.gets("serve", "Tiny", "--gpu", "24576x2")["name"] == "tiny"
    assert fake.bodies("POST /serve") == [{"model": "Tiny", "gpu": {"memory_mb": 24576, "count": 2}}]


def test_what_does_not_fit_is_refused_with_the_numbers(person: Person, fake: Fake) -> None:
    """The problem's title and detail, and exit code 6."""
    fake.on("POST /serve", problem(422, "The model does not fit", "needs 900 MB, 512 MB were asked for"))
    result = person.types("serve", "Tiny")
    assert (result.exit_code, result.stderr.splitlines()) == (
        6,
        ["Error: The model does not fit", "  needs 900 MB, 512 MB were asked for"],
    )


def test_a_served_model_is_not_removed_by_accident(person: Person, fake: Fake) -> None:
    """Refused, naming the server and both ways on; nothing is deleted."""
    result = person.types("rm", "Tiny")
    deletions = [call for call, _, _ in fake.seen if call.startswith("DELETE")]
    assert (result.exit_code, deletions, "--all" in result.stderr, "server tiny" in result.stderr) == (
        6,
        [],
        True,
        True,
    )


@pytest.mark.parametrize(
    ("option", "expected"),
    [("--server", ["DELETE /serve/tiny"]), ("--all", ["DELETE /serve/tiny", "DELETE /models/m-1"])],
)
def test_rm_removes_what_it_is_told_to(person: Person, fake: Fake, option: str, expected: list[str]) -> None:
    """The server is gone before the model is deleted."""
    fake.on("GET /status/s-1", (200, SERVER), (200, SERVER | {"status": "deleted"}))
    result = person.types("rm", "Tiny", option)
    assert (result.exit_code, [call for call, _, _ in fake.seen if call.startswith("DELETE")]) == (0, expected)


def test_chat_streams_the_answer(person: Person, fake: Fake) -> None:
    """The pieces in order on stdout."""
    result = person.types("chat", "Tiny", "What is the capital of France?")
    assert (result.exit_code, result.stdout) == (0, "Paris\n")
    (body,) = fake.bodies("POST /m/tiny/v1/chat/completions")
    assert (body["model"], body["stream"], body["messages"][0]["content"]) == (
        "tiny",
        True,
        "What is the capital of France?",
    )


def test_chat_waits_for_a_model_that_wakes(person: Person, fake: Fake) -> None:
    """503 means later: the question is asked again until it is answered."""
    call = "POST /m/tiny/v1/chat/completions"
    fake.on(call, problem(503, "Waking", "later"), problem(503, "Waking", "later"), (200, sse("Paris")))
    assert person.types("chat", "tiny", "?").stdout == "Paris\n"


def test_chat_reads_the_question_from_a_pipe(person: Person, fake: Fake) -> None:
    """`echo ... | kn model chat` works."""
    person.types("chat", "tiny", stdin="from a pipe\n")
    assert fake.bodies("POST /m/tiny/v1/chat/completions")[0]["messages"][0]["content"] == "from a pipe"


def test_an_answer_that_is_cut_is_no_answer(person: Person, fake: Fake) -> None:
    """A stream without its end mark is a failure, even though words came."""
    fake.on("POST /m/tiny/v1/chat/completions", (200, sse("Pa").removesuffix(b"data: [DONE]\n\n")))
    result = person.types("chat", "tiny", "?")
    assert (result.exit_code, result.stdout, "cut" in result.stderr) == (1, "Pa", True)


def test_an_error_of_the_engine_is_shown(person: Person, fake: Fake) -> None:
    """In the OpenAI shape as well."""
    fake.on("POST /m/tiny/v1/chat/completions", (400, {"error": {"message": "max_tokens is too large"}}))
    result = person.types("chat", "tiny", "?")
    assert (result.exit_code, "max_tokens is too large" in result.stderr) == (1, True)


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3), (404, 4), (409, 6), (422, 6), (500, 1)], ids=str)
def test_answers_have_their_exit_codes(person: Person, fake: Fake, status: int, code: int) -> None:
    """Scripts can tell what went wrong."""
    fake.on("GET /models", problem(status, "Title", "detail"))
    result = person.types("ls")
    assert (result.exit_code, result.stderr.splitlines()[:2]) == (code, ["Error: Title", "  detail"])


def test_failures_are_json_where_json_was_asked_for(person: Person, fake: Fake) -> None:
    """On stderr, with stable fields; stdout stays empty."""
    fake.on("GET /models", problem(404, "Title", "detail"))
    result = person.types("ls", "-o", "json")
    assert (result.stdout, json.loads(result.stderr)) == (
        "",
        {"error": {"message": "Title", "detail": "detail", "next": "", "code": 4}},
    )


def test_nobody_answering_says_how_to_start_the_runtime(person: Person) -> None:
    """Exit code 5 and the command to run."""
    person.environ["TORPOR_URL"] = "http://127.0.0.1:1"
    result = person.types("ls")
    assert (result.exit_code, "kn model up" in result.stderr) == (5, True)


def test_nobody_logged_in_says_how_to_log_in(person: Person) -> None:
    """Exit code 3 and the command to run, before anything is sent."""
    del person.environ["TORPOR_URL"], person.environ["TORPOR_TOKEN"]
    result = person.types("ls")
    assert (result.exit_code, "kn model login" in result.stderr) == (3, True)


def test_login_keeps_the_token_for_its_owner_alone(person: Person, fake: Fake) -> None:
    """The file is 0600; later commands use it without a word about it."""
    url = person.environ.pop("TORPOR_URL")
    del person.environ["TORPOR_TOKEN"]
    result = person.types("login", url, "--username", "ada", "--password-stdin", stdin="secret\n")
    saved = person.home / "config" / "torpor" / "config.json"
    assert (result.exit_code, stat.S_IMODE(saved.stat().st_mode)) == (0, 0o600), result.output
    assert fake.bodies("POST /auth/token") == [{"username": "ada", "password": "secret"}]
    assert TOKEN not in result.output
    person.types("ls")
    assert fake.seen[-1] == ("GET /models", None, f"Bearer {TOKEN}")


def test_a_wrong_password_is_said(person: Person, fake: Fake) -> None:
    """Exit code 3, and nothing is saved."""
    fake.on("POST /auth/token", problem(401, "Authentication is required", "wrong username or password"))
    result = person.types("login", fake.url, "--username", "ada", "--password-stdin", stdin="no\n")
    assert (result.exit_code, (person.home / "config").exists()) == (3, False)


def test_login_without_a_runtime_says_how_to_start_one(person: Person) -> None:
    """`kn model login` in a directory where nothing runs."""
    result = person.types("login")
    assert (result.exit_code, "kn model up" in result.stderr) == (5, True)


def test_logs_are_found_by_service_and_by_model_name(person: Person) -> None:
    """The newest instance's last lines."""
    folder = person.home / ".torpor" / "logs" / "tiny-model"
    folder.mkdir(parents=True)
    (folder / "a.log").write_text("one\ntwo\nthree\n")
    assert person.types("logs", "Tiny.Model", "-n", "2").stdout == "two\nthree\n"
    assert person.types("logs").stdout == "tiny-model\n"


@pytest.mark.parametrize("name", ["other", "../config", ".", "/etc"])
def test_a_log_that_is_not_there_is_named(person: Person, name: str) -> None:
    """Exit code 4; no name leads out of the folder."""
    (person.home / ".torpor" / "logs").mkdir(parents=True)
    assert person.types("logs", name).exit_code == 4


def test_logs_on_a_cluster_are_kubectl_s(person: Person) -> None:
    """The exact command, since the client has no way to pod logs."""
    result = person.types("logs", "tiny")
    assert (result.exit_code, "kubectl logs -n torpor -l serving.knative.dev/service=tiny" in result.stderr) == (
        4,
        True,
    )
