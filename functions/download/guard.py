"""Keeps addresses that users name away from inside networks (server-side request forgery).

Every host is resolved once, every address of it is checked against the table below, and the connection goes to the
checked address; so a name cannot answer differently a second time. `ipaddress.is_global` is no such table: on Python
3.11 it lets multicast, NAT64 and 6to4 forms of private addresses through.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from functions.download.problems import SourceRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registries (RFC 6890 and its successors), plus what clouds answer metadata on.
_REFUSED_V4: Final = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32",
    )
]  # fmt: skip
# Only global unicast is ever a source; inside it these are not.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6: Final = [
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]  # Teredo lies in the first, 6to4 is the third: both carry an IPv4 address inside.


def is_public(address: Address) -> bool:
    """Whether a connection to `address` leaves for the public internet. Mapped and NAT64 forms are refused whole."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


class Guard:
    """Decides which hosts may be asked. allowed: host names or addresses that the operator vouches for."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)

    def allows(self, host: str) -> bool:
        """Whether the operator vouches for the host, whatever its address."""
        return host.lower().strip("[]") in self._allowed

    def check(self, url: URL) -> None:
        """Raise SourceRefused for another scheme than https (http for vouched hosts) or a literal inside address.

        Names are checked when they are resolved; a literal never is, so it is looked at here.
        """
        host = url.host or ""
        if self.allows(host) and url.scheme in {"http", "https"}:
            return
        if url.scheme != "https":
            raise SourceRefused(
                "source-forbidden", f"{host or 'the source'} is to be asked over {url.scheme}, not https"
            )
        literal = _literal(host)
        if literal is not None and not is_public(literal):
            raise _inside(host)

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Raise SourceRefused unless every address of `host` is public."""
        if not self.allows(host) and not all(is_public(_parsed(text)) for text in addresses):
            raise _inside(host)


class GuardedResolver(AbstractResolver):
    """aiohttp's resolver with the guard behind it: what it answers is what the connection uses."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of `host`, or SourceRefused when one of them is inside."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = _addresses(found)
        self._guard.check_addresses(host, addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _addresses(found: Sequence[tuple[object, object, object, object, tuple[object, ...]]]) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _parsed(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _literal(host: str) -> Address | None:
    try:
        return _parsed(host.strip("[]"))
    except ValueError:
        return None


def _inside(host: str) -> SourceRefused:
    return SourceRefused(
        "source-forbidden",
        f"{host} is not a public address; an operator can allow the host with TORPOR_ALLOWED_SOURCE_HOSTS",
    )
