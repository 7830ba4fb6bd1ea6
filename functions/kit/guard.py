"""Keeps addresses that users name away from inside networks (server-side request forgery): sources, webhooks.

Every host is resolved once, every address of it is checked against the table of `addresses`, and the connection goes to
the checked address; so a name cannot answer differently a second time. The socket is looked at once more, so that no
other way to an address, now or in a later aiohttp, leads around the check.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from functions.kit import addresses
from functions.kit.addresses import NoHost

# All addresses of a host; the family as socket names it.
Lookup = Callable[[str, socket.AddressFamily], Awaitable[Sequence[str]]]


async def system_lookup(host: str, family: socket.AddressFamily) -> Sequence[str]:
    """What the system's resolver answers. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the guarded addresses are for.

    noun: a word for one, such as «source». setting: where an operator vouches for hosts. refusal: makes the exception.
    """

    noun: str
    setting: str
    refusal: Callable[[str], Exception]


class Guard:
    """Decides which hosts may be asked. allowed: host names or addresses that the operator vouches for."""

    def __init__(self, purpose: Purpose, allowed: Iterable[str] = (), lookup: Lookup = system_lookup) -> None:
        """What is refused raises what `purpose.refusal` makes, below called a refusal."""
        self._purpose = purpose
        self._allowed = frozenset(_bare(host) for host in allowed)
        self._lookup = lookup
        # Addresses that vouched hosts have: a socket may be opened to them, though no user may name them.
        self._vouched = set(self._allowed)

    def allows(self, host: str) -> bool:
        """Whether the operator vouches for the host, whatever its address."""
        return _bare(host) in self._allowed

    def check(self, url: URL, came_from: URL | None = None) -> None:
        """Raise a refusal for an address that may not be asked. came_from: what redirected here, if anything did.

        Another scheme than https (http for vouched hosts), from https to http, a user name, an unusual form, a literal
        inside address. Names are checked when they are resolved; a literal never is, so it is looked at here.
        """
        host = url.raw_host or ""
        self._check_form(url, came_from)
        if self.allows(host):
            return
        if url.scheme != "https":
            raise self._refusal(f"{host or f'the {self._purpose.noun}'} is to be asked over {url.scheme}, not https")
        try:
            address = addresses.literal(host)
        except NoHost as error:
            raise self._refusal(f"{ascii(host)[:120]} {error}") from error
        if address is not None and not addresses.is_public(address):
            raise self._inside(host)

    async def resolve(self, host: str, family: socket.AddressFamily) -> Sequence[str]:
        """All addresses of `host`, or a refusal when one of them is inside. Raises OSError."""
        found = await self._lookup(host, family)
        if self.allows(host):
            self._vouched.update(found)
        elif not all(_is_public(address) for address in found):
            raise self._inside(host)
        return found

    def socket_to(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one entry of getaddrinfo, as aiohttp asks for it. Raises a refusal for an unchecked one."""
        family, kind, protocol, _, (address, *_) = info
        if address not in self._vouched and not _is_public(address):
            raise self._inside(address)
        return socket.socket(family, kind, protocol)

    def _check_form(self, url: URL, came_from: URL | None) -> None:
        if url.scheme not in {"http", "https"}:
            raise self._refusal(f"a {self._purpose.noun} is asked over https, not {url.scheme[:20]!a}")
        if url.raw_user is not None or url.raw_password is not None:
            raise self._refusal(f"the address of {url.raw_host} holds a user name, which is sent nowhere")
        if came_from is not None and came_from.scheme == "https" and url.scheme == "http":
            raise self._refusal(
                f"{came_from.raw_host} redirects from https to http, which anybody could read and change"
            )

    def _refusal(self, message: str) -> Exception:
        return self._purpose.refusal(message)

    def _inside(self, host: str) -> Exception:
        setting = self._purpose.setting
        return self._refusal(f"{host} is not a public address; an operator can allow the host with {setting}")


class GuardedResolver(AbstractResolver):
    """aiohttp's resolver with the guard behind it: what it answers is what the connection uses."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See Guard.resolve."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, family)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _bare(host: str) -> str:
    return host.lower().strip("[]")


def _is_public(text: str) -> bool:
    return addresses.is_public(ipaddress.ip_address(text))
