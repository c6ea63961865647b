"""The network address that a request comes from: the one place that decides it, for throttles, usage and records.

It is the peer of the connection or, where the operator named a header, the value of that header and never the peer. The
name has no dash, because WSGI gives `X-Forwarded-For` and `X_Forwarded_For` one name, and the later one wins: a proxy
that sets the first lets a client forge it with the second. None stands for an address that is not known.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

#: Stands where an address would, in answers and in counters.
UNKNOWN: Final = "unknown"
#: A customer of a provider has at least this network of IPv6 to choose addresses from.
_PREFIX: Final = 64
#: Of the longest address that can be written, with an IPv4 address at its end.
_LONGEST: Final = 45
_HEADER: Final = re.compile(r"[A-Za-z0-9]{1,64}")
#: Names without a dash that clients or proxies send with another meaning.
_TAKEN_HEADERS: Final = frozenset(
    (
        "accept", "authorization", "connection", "cookie", "date", "dnt", "expect", "forwarded", "from", "host",
        "origin", "pragma", "priority", "range", "referer", "te", "trailer", "upgrade", "via", "warning",
    )
)  # fmt: skip


def client_address(environ: Mapping[str, Any], header: str) -> Address | None:
    """Return where a request comes from, or None where that is not known.

    Args:
        environ: of WSGI.
        header: the name of the header that the proxy sets; empty: no proxy, the peer counts.
    """
    return read_address(_sent(environ, header))


def _sent(environ: Mapping[str, Any], header: str) -> str | None:
    return environ.get(name_in_environ(header))


def name_in_environ(header: str) -> str:
    """Return under which name WSGI has the address, for what looks it up often."""
    return f"HTTP_{header.upper()}" if header else "REMOTE_ADDR"


@lru_cache(4_096)
def read_address(text: str | None) -> Address | None:
    """Return the address, if the text is exactly one: no port, no list, no zone, no blanks.

    An IPv4 address that is written as IPv6 (RFC 4291, section 2.5.5.2) is the IPv4 address.
    """
    if text is None or len(text) > _LONGEST or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def network_of(address: Address | None) -> str:
    """Return what attempts are counted by: an IPv4 address, a /64 of IPv6, or `unknown`, which all such share."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _PREFIX), strict=False))
    return shown(address)


@lru_cache(4_096)
def shown(address: Address | None) -> str:
    return UNKNOWN if address is None else str(address)


def shown_client(environ: Mapping[str, Any], header: str) -> str:
    """Return where a request comes from as it is counted and logged: `shown` of `client_address`."""
    return shown_text(_sent(environ, header))


@lru_cache(4_096)
def shown_text(text: str | None) -> str:
    """Return the address that a text is, as it is shown; by the text, because hashing an address costs more."""
    return shown(read_address(text))


def address_header(name: str) -> str | None:
    """Check the name of the header: return None where it is good, else the end of a sentence (`setting_checks.py`)."""
    if not name:
        return None
    if any(letter in name for letter in "-_."):
        return (
            f"cannot be {name!r}: a client can send another spelling of a name with a dash, an underscore or a dot, "
            "and WSGI takes both for one. Use letters and digits only, such as Mushuclientip"
        )
    if not _HEADER.fullmatch(name):
        return f"is the name of a header, of 1 to 64 letters and digits such as Mushuclientip, not {name!r}"
    if name.lower() in _TAKEN_HEADERS:
        return f"cannot be {name!r}: clients send that header with another meaning. Use Mushuclientip"
    return None
