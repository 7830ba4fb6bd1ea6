"""Which addresses are outside, and which texts name a host at all: the tables behind `guard`. Pure.

`ipaddress.is_global` is no such table: on Python 3.11 it lets multicast, NAT64 and 6to4 forms of private addresses
through. And the system's resolver takes `2130706433`, `0x7f.1`, `127.1` and full-width digits for addresses, so a host is
either an address as ipaddress writes it, or a name that no resolver can take for one.
"""

import ipaddress
import re
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registries (RFC 6890 and its successors), plus what clouds answer metadata on: Azure's address
# stands last, the others' lie in the ranges of link-local, shared and unique local addresses.
_REFUSED_V4: Final = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32",
    )
]  # fmt: skip
# Only global unicast is ever a source: mapped, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local, link-local,
# site-local and multicast addresses lie outside it.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
# Inside it these are not: Teredo lies in the first, 6to4 is the third, and both carry an IPv4 address inside.
_REFUSED_V6: Final = [
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
# ISATAP (RFC 5214): this interface identifier, or the one with the universal bit, before an IPv4 address.
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}\Z", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z", re.ASCII | re.IGNORECASE)


class NoHost(ValueError):
    """The text is neither an address as it is usually written nor a name; the message says why."""


def is_public(address: Address) -> bool:
    """Whether a connection to `address` leaves for the public internet. Mapped and NAT64 forms are refused whole."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return False
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def literal(host: str) -> Address | None:
    """The address that a host is, or None for a name. host: without brackets. Raises NoHost for everything else."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _NAME.match(host):
        raise NoHost("is no host name: letters, digits, - and _ between dots, in punycode for others")
    if _NUMBER.match(host.rpartition(".")[2]):
        raise NoHost("is an address in an unusual form: write it as four decimal numbers")
    return None
