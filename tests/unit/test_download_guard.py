"""Which addresses a user's source may lead to."""

import ipaddress

import pytest
from yarl import URL

from functions.download.guard import Guard, is_public
from functions.download.problems import SourceRefused


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "192.0.0.192",
        "168.63.129.16", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
        "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "2002:7f00:1::", "2001::1", "fc00::1", "fe80::1",
        "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_inside_addresses_are_not_public(text: str) -> None:
    """Loopback, private, link-local, metadata, multicast, and every form that wraps such an address."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_outside_addresses_are_public(text: str) -> None:
    """The guard does not stand in the way of the internet."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://[::ffff:10.0.0.1]/a",
        "ftp://example.com/a",
    ],
)
def test_plain_http_and_literal_inside_addresses_are_refused(url: str) -> None:
    """No connection is made for these."""
    with pytest.raises(SourceRefused):
        Guard().check(URL(url))


def test_one_inside_address_among_many_is_enough_to_refuse() -> None:
    """A name that answers both ways is an attack, not a choice."""
    with pytest.raises(SourceRefused, match="not a public address"):
        Guard().check_addresses("mixed.example", ["8.8.8.8", "10.0.0.1"])


def test_a_host_that_the_operator_vouches_for_passes() -> None:
    """By name, whatever its address, and over plain http."""
    guard = Guard(["Mirror.local"])
    guard.check(URL("http://mirror.local/a"))
    guard.check_addresses("mirror.local", ["10.0.0.1"])
    with pytest.raises(SourceRefused):
        guard.check(URL("http://other.local/a"))
