"""Requests to sources against a server that lies and a resolver that changes its mind."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from functions.download.connection import Room
from functions.download.guard import SOURCES, source_guard
from functions.download.http import SourceHttp
from functions.download.problems import SourceRefused, SourceUnwell
from functions.kit.guard import Guard
from functions.kit.settings import Secret
from tests.unit.certificates import certificate


@dataclass
class Server:
    """Notes Host and Authorization of each request, and redirects /to to what the query says."""

    port: int = 0
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """A redirect, or the word `here`."""
        self.asked.append((request.path, request.headers["Host"], request.headers.get("Authorization", "")))
        if request.path == "/to":
            return web.Response(status=302, headers={"Location": request.query["where"]})
        if request.path == "/busy":
            return web.Response(status=429, headers={"Retry-After": "20"})
        if request.path == "/soon":
            await asyncio.sleep(0.1)
            return web.Response(status=503)
        if request.path == "/loop":
            return web.Response(status=307, headers={"Location": "/loop"})
        return web.Response(text="here")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """On loopback, which no user's address may lead to."""
    known = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", known.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    known.port = runner.addresses[0][1]
    yield known
    await runner.cleanup()


class Names:
    """A resolver with fixed answers, one after the other for each question; the last stays."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, _: socket.AddressFamily) -> Sequence[str]:
        """The next answer."""
        self.asked.append(host)
        left = self.answers[host]
        return [left.pop(0) if len(left) > 1 else left[0]]


async def get(http: SourceHttp, url: str) -> str:
    """The text at an address, read as answers are that are read at once."""
    async with http.get(url, {}) as response:
        return await response.text()


async def stream(http: SourceHttp, url: str) -> str:
    """The text at an address, read as files are."""
    text = Room(bytearray(4))
    async with http.stream(url, {}) as answer:
        await answer.read_into(text)
    return text.data.decode()


Fetch = Callable[..., Awaitable[str]]


@pytest.fixture(params=[get, stream])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """The text at an address, over connections of its own."""

    async def fetch(guard: Guard, url: str, token: str = "", origin: URL | None = None) -> str:
        http = SourceHttp(guard, 2.0, Secret(token), origin)
        try:
            return str(await request.param(http, url))
        finally:
            await http.close()

    return fetch


async def test_a_name_goes_to_its_checked_address_under_its_own_name(fetch: Fetch, server: Server) -> None:
    """The address is connected to, the name is what the server is asked for; and it is looked up once."""
    names = Names(mirror_test=["127.0.0.1"])
    assert await fetch(source_guard(["mirror.test"], names), f"http://mirror.test:{server.port}/a") == "here"
    assert server.asked == [("/a", f"mirror.test:{server.port}", "")]
    assert names.asked == ["mirror.test"]


async def test_a_name_that_is_inside_is_not_connected_to(fetch: Fetch, server: Server) -> None:
    """Whatever the port."""
    with pytest.raises(SourceRefused, match=r"evil\.test is not a public address"):
        await fetch(source_guard(lookup=Names(evil_test=["127.0.0.1"])), f"https://evil.test:{server.port}/a")
    assert server.asked == []


class Watching(Guard):
    """A guard that notes where sockets are opened to, and opens none."""

    def __init__(self, names: Names) -> None:
        super().__init__(SOURCES, lookup=names)
        self.opened: list[str] = []

    def socket_to(self, info: tuple[Any, ...]) -> socket.socket:
        """Note the address after the check."""
        super().socket_to(info).close()
        self.opened.append(info[4][0])
        raise OSError("no network in this test")


async def test_a_name_that_changes_its_mind_is_asked_once(fetch: Fetch) -> None:
    """First a public address, then loopback (DNS rebinding): the connection goes to the first, or nowhere."""
    names = Names(evil_test=["8.8.8.8", "127.0.0.1"])
    guard = Watching(names)
    with pytest.raises(SourceUnwell):
        await fetch(guard, "https://evil.test/a")
    assert (guard.opened, names.asked) == (["8.8.8.8"], ["evil.test"])
    with pytest.raises(SourceRefused):
        await fetch(guard, "https://evil.test/a")
    assert guard.opened == ["8.8.8.8"]


async def test_the_socket_is_the_last_word(fetch: Fetch, server: Server) -> None:
    """A way around the resolver, as a library's short cut for literals once was, ends at the socket."""

    class Blind(Guard):
        def check(self, url: URL, came_from: URL | None = None) -> None:
            """See nothing."""

    with pytest.raises(SourceRefused, match=r"127\.0\.0\.1 is not a public address"):
        await fetch(Blind(SOURCES), f"http://127.0.0.1:{server.port}/a")
    assert server.asked == []


@pytest.mark.parametrize(
    "where",
    [
        "https://127.0.0.1/a", "http://169.254.169.254/latest", "https://evil.test/a", "//127.0.0.1/a", "https://[::1]/a",
        "https://[::ffff:a00:1]/", "https://2130706433/", "https://0x7f.1/", "https://user@mirror.test/", "file:///etc/passwd",
        "gopher://mirror.test/", "data:text/plain,x", "https://mirror.test:99999/", "https://[::1/", "https://\u24dbocalhost/",
    ],
)  # fmt: skip
async def test_a_redirect_is_a_new_decision(fetch: Fetch, server: Server, where: str) -> None:
    """Inside addresses, other schemes, credentials and broken addresses are refused after a redirect too."""
    names = Names(mirror_test=["127.0.0.1"], evil_test=["10.0.0.1"])
    url = URL(f"http://mirror.test:{server.port}/to").with_query(where=where)
    with pytest.raises(SourceRefused):
        await fetch(source_guard(["mirror.test"], names), str(url))
    assert [path for path, _, _ in server.asked] == ["/to"]


async def test_the_guard_learns_where_a_redirect_came_from(fetch: Fetch, server: Server) -> None:
    """Without it a way from https to http looks like any other."""
    seen: list[tuple[str, str | None]] = []

    class Recording(Guard):
        def check(self, url: URL, came_from: URL | None = None) -> None:
            """Note both."""
            seen.append((url.path, came_from.path if came_from else None))

    url = URL(f"http://127.0.0.1:{server.port}/to").with_query(where="/there")
    assert await fetch(Recording(SOURCES, ["127.0.0.1"]), str(url)) == "here"
    assert seen == [("/to", None), ("/there", "/to")]


async def test_redirects_end(fetch: Fetch, server: Server) -> None:
    """Five are followed."""
    with pytest.raises(SourceRefused, match="more than 5 times"):
        await fetch(source_guard(["127.0.0.1"]), f"http://127.0.0.1:{server.port}/loop")
    assert len(server.asked) == 6


async def test_a_token_stays_with_its_origin(fetch: Fetch, server: Server) -> None:
    """It goes to the hub, not where the hub redirects to: neither to another host nor to another port or scheme."""
    names = Names(hub_test=["127.0.0.1"], cdn_test=["127.0.0.1"])
    guard, hub = source_guard(["hub.test", "cdn.test"], names), URL(f"http://hub.test:{server.port}")
    for host in ("cdn.test", "hub.test"):
        url = URL(f"{hub}/to").with_query(where=f"http://{host}:{server.port}/a")
        assert await fetch(guard, str(url), "hf_secret", hub) == "here"
    assert await fetch(guard, f"{hub}/a", "hf_secret", hub.with_port(1)) == "here"
    assert await fetch(guard, f"{hub}/a", "hf_secret", hub.with_scheme("https")) == "here"
    sent = [(host.partition(":")[0], bool(authorization)) for _, host, authorization in server.asked]
    assert sent == [
        ("hub.test", True),
        ("cdn.test", False),
        ("hub.test", True),
        ("hub.test", True),
        *[("hub.test", False)] * 2,
    ]


async def test_tls_asks_for_the_name_and_not_for_the_address(fetch: Fetch, tmp_path: Path) -> None:
    """The certificate is that of the name (SNI), though the connection goes to the checked address."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "mirror.test"))
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(SourceUnwell, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(source_guard(["mirror.test"], Names(mirror_test=["127.0.0.1"])), f"https://mirror.test:{port}/a")
    server.close()
    await server.wait_closed()
    assert asked == ["mirror.test"]


async def test_a_host_that_asks_for_patience_is_left_alone_by_all(server: Server) -> None:
    """After a 429 with Retry-After no other request of this instance reaches it meanwhile; other hosts are not meant."""
    http = SourceHttp(source_guard(["127.0.0.1", "localhost"]), 2.0, Secret(""), None)
    try:
        for path in ("busy", "file"):
            with pytest.raises(SourceUnwell) as caught:
                async with http.get(f"http://127.0.0.1:{server.port}/{path}", {}):
                    pass
            assert 19 < caught.value.after_s <= 20
        async with http.get(f"http://localhost:{server.port}/file", {}) as response:
            assert await response.text() == "here"
    finally:
        await http.close()
    assert [path for path, _, _ in server.asked] == ["/busy", "/file"]


async def test_a_later_answer_does_not_shorten_the_patience_asked_for(server: Server) -> None:
    """What was on its way already is answered without a Retry-After: the longer wish counts."""
    http = SourceHttp(source_guard(["127.0.0.1"]), 2.0, Secret(""), None)
    url = f"http://127.0.0.1:{server.port}"

    async def ask(path: str) -> None:
        async with http.get(f"{url}/{path}", {}):
            pass

    await asyncio.gather(ask("soon"), ask("busy"), return_exceptions=True)
    with pytest.raises(SourceUnwell, match="asked for patience") as caught:
        await ask("file")
    assert caught.value.after_s > 10
    await http.close()
