"""API keys as rows and rules: minted, named, in one state at a time, succeeded by another, deleted for good.

Nothing here commits, delivers a key or knows who asks: a key is checked by `gate/`, delivered by `delivery/`, and every
verb of it is in `lifecycle/`. The scopes, which say what a key permits, are
here, and the networks that it is for, in CIDR notation (RFC 4632, RFC 4291). Read on in `minting.py`,
`states.py`, `rotation.py`, `service.py` and `revocation_journal.py`.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from mushu.server.client_address import Address
from mushu.server.errors import Invalid

Network: TypeAlias = IPv4Network | IPv6Network

#: Networks of one key at the most.
MOST_NETWORKS: Final = 50
_NETWORK: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?")
#: IPv4 addresses that are written as IPv6 (RFC 4291, section 2.5.5.2); an address is compared as IPv4.
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


class Scope(StrEnum):
    """What a credential permits. Independent of each other: none implies another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


DEFAULT_SCOPES: Final = (Scope.READ, Scope.WRITE)
_KNOWN: Final = ", ".join(Scope)


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes that `names` name, always in the order read, write, admin.

    Raises:
        Invalid: none, an unknown one, or one named twice.
    """
    given = list(names)
    if not given:
        raise Invalid(f"A key needs at least one scope of {_KNOWN}.", field="scopes")
    for name in given:
        if name not in tuple(Scope):
            raise Invalid(f"A scope must be one of {_KNOWN}.", field="scopes")
        if given.count(name) > 1:
            raise Invalid(f"The scope {name} is named more than once.", field="scopes")
    return tuple(scope for scope in Scope if scope in given)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that are written, in their one spelling.

    Raises:
        Invalid: one of them is none, or there are too many.
    """
    if len(texts) > MOST_NETWORKS:
        raise Invalid(f"A key can have {MOST_NETWORKS} networks at the most.", field="networks")
    return tuple(dict.fromkeys(_parse(text) for text in texts))


def stored_networks(networks: Sequence[Network]) -> str | None:
    """Return networks as a column holds them; None where there are none, so that all pass."""
    return ",".join(map(str, networks)) or None


def written_networks(column: str | None) -> list[str] | None:
    """Return networks as they are told; None where there are none."""
    return column.split(",") if column else None


@lru_cache(10_000)
def networks_of(column: str | None) -> tuple[Network, ...]:
    return parse_networks(column.split(",")) if column else ()


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks; one that is not known is in none."""
    return address is not None and any(address in network for network in networks)


def _parse(text: str) -> Network:
    try:
        network = ip_network(text) if _NETWORK.fullmatch(text) else None
    except ValueError:
        network = None
    if network is None:
        raise Invalid(
            "A network is written as 10.0.0.0/8 or 2001:db8::/32, with no bit set behind the prefix, or as an address.",
            field="networks",
        )
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network
