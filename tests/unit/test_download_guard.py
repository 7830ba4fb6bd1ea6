"""Which addresses a user's source may lead to."""

import ipaddress
import socket

import pytest
from yarl import URL

from functions.download.guard import source_guard
from functions.download.problems import SourceRefused
from functions.kit.addresses import NoHost, is_public, literal

INSIDE = [
    # this network, private, shared, loopback, link-local (metadata of most clouds), IETF, documentation, AS112
    "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.31.196.1",
    "192.52.193.1", "192.88.99.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "168.63.129.16",
    # multicast, reserved, broadcast
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    # unspecified, loopback, compatible, mapped
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    # NAT64, well known and local use; 6to4; Teredo; ISATAP
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1",
    # unique local (metadata of AWS and Google over IPv6), link-local with and without zone, site-local, multicast
    "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
    # discard, ORCHID, benchmarking, documentation, SRv6, AS112, a public address with a zone
    "100::1", "2001:10::1", "2001:20::1", "2001:2::1", "2001:db8::1", "3fff::1", "5f00::1", "2620:4f:8000::1",
    "2606:4700::1111%eth0",
]  # fmt: skip
# What the system's resolver, a browser or a proxy may take for 127.0.0.1, and never comes to any of them.
DISGUISED = [
    "2130706433", "0x7f000001", "0X7F000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0", "0x",
    "127.0.0.1.", "127.0.0.01", "127.0.0.256", "1.2.3.4.5", "a.0x7f", "127。0。0。1", "\uff11\uff12\uff17.0.0.1", "⑯⑨.②⑤④.⑯⑨.②⑤④",
    "ⓛocalhost", "localhost.", "127%2e0%2e0%2e1", "local host", "localhost\0", "a\\b", "-a.com", "a..b", "", "a" * 64 + ".com",
    "a." * 127 + "b",
]  # fmt: skip


@pytest.mark.parametrize("text", INSIDE)
def test_inside_addresses_are_not_public(text: str) -> None:
    """Loopback, private, link-local, metadata, multicast, and every form that wraps such an address."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1"],
)
def test_outside_addresses_are_public(text: str) -> None:
    """The guard does not stand in the way of the internet."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("host", DISGUISED)
def test_a_host_is_an_address_as_usual_or_a_name(host: str) -> None:
    """No resolver gets to see what it could take for an address."""
    with pytest.raises(NoHost):
        literal(host)


@pytest.mark.parametrize(
    "host", ["huggingface.co", "xn--mnchen-3ya.de", "a_b.example.com", "1e100.net", "7.example.com", "LOCAL"]
)
def test_names_are_names(host: str) -> None:
    """Digits and underscores are part of real ones."""
    assert literal(host) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "gopher://example.com/a",
        "data:text/plain,a",
        "//example.com/a",
        "https:///a",
        "https://user@example.com/a",
        "https://user:word@example.com/a",
        "https://:word@example.com/a",
        "https://example.com@127.0.0.1/a",
        *(f"https://[{text}]/a" if ":" in text else f"https://{text}/a" for text in INSIDE if "%" not in text),
        *(f"https://{host}/a" for host in DISGUISED if host.isprintable() and not {"/", "\\", " "} & set(host)),
    ],
)
def test_plain_http_other_schemes_and_inside_hosts_are_refused(url: str) -> None:
    """No connection is made for these, and no name is looked up."""
    with pytest.raises(SourceRefused):
        source_guard().check(URL(url, encoded=True))


async def _both(_: str, __: socket.AddressFamily) -> list[str]:
    return ["8.8.8.8", "10.0.0.1"]


async def test_one_inside_address_among_many_is_enough_to_refuse() -> None:
    """A name that answers both ways is an attack, not a choice."""
    with pytest.raises(SourceRefused, match="not a public address"):
        await source_guard(lookup=_both).resolve("mixed.example", socket.AF_UNSPEC)


async def test_a_host_that_the_operator_vouches_for_passes() -> None:
    """By name, whatever its address, and over plain http; a user name in its address does not."""
    guard = source_guard(["Mirror.local"], _both)
    guard.check(URL("http://mirror.local/a"))
    assert await guard.resolve("mirror.local", socket.AF_UNSPEC) == ["8.8.8.8", "10.0.0.1"]
    for refused in ("http://other.local/a", "http://user@mirror.local/a", "ftp://mirror.local/a", "https://10.0.0.1/a"):
        with pytest.raises(SourceRefused):
            guard.check(URL(refused))


def test_nobody_is_led_from_https_to_http() -> None:
    """Not even to a vouched host: what came over https would go on in the open."""
    guard = source_guard(["mirror.local"])
    guard.check(URL("http://mirror.local/b"), URL("http://mirror.local/a"))
    guard.check(URL("https://mirror.local/b"), URL("http://mirror.local/a"))
    with pytest.raises(SourceRefused, match="from https to http"):
        guard.check(URL("http://mirror.local/b"), URL("https://mirror.local/a"))


async def test_a_socket_opens_to_checked_addresses_alone() -> None:
    """Whatever way a library might find around the resolver."""
    guard = source_guard(["mirror.local"], _both)
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    with pytest.raises(SourceRefused):
        guard.socket_to((*info, ("10.0.0.1", 443)))
    guard.socket_to((*info, ("8.8.8.8", 443))).close()
    await guard.resolve("mirror.local", socket.AF_UNSPEC)
    guard.socket_to((*info, ("10.0.0.1", 443))).close()
