"""The address of a server, in its one spelling; logins are kept under it, so two spellings would be two servers."""

import re
from typing import Final

DEFAULT_URL: Final = "http://127.0.0.1:8000"

# Narrower than RFC 3986 on purpose: where two programs could read a URL differently, a token could go astray.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[a-z0-9_~-][a-z0-9._~-]*)*)/?",
    re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}
_HIGHEST_PORT: Final = 65_535


def normalized(text: str) -> str:
    """Return the one spelling of the address of a server: lower case, no default port, no slash at the end.

    Raises:
        ValueError: it is none; the sentence says what one looks like.
    """
    found = _URL.fullmatch(text.strip())
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port <= _HIGHEST_PORT):
        # Not repeated: there may be a password in it.
        raise ValueError(
            "The address of a server looks like https://mushu.example.com or http://127.0.0.1:8000: http or https, "
            "a host, and neither a user nor a query."
        )
    scheme = found["scheme"].lower()
    tail = "" if port is None or port == _PORTS[scheme] else f":{port}"
    return f"{scheme}://{found['host'].lower()}{tail}{found['path']}"


def host_of(url: str) -> str:
    """Return the host of a normalized address, without the brackets of IPv6."""
    found = _URL.fullmatch(url)
    return found["host"].strip("[]") if found else ""


def host_in_url(url: str) -> str:
    """Return the host of a normalized address as an address has it, with the brackets of IPv6."""
    host = host_of(url)
    return f"[{host}]" if ":" in host else host


def is_loopback(url: str) -> bool:
    """Tell whether what is sent to a normalized address stays on this machine."""
    return is_loopback_host(host_of(url))


def is_loopback_host(host: str) -> bool:
    """Tell whether a host, without the brackets of IPv6, is this machine: `localhost`, 127.0.0.0/8 or ::1.

    No other spelling is: not `localhost.`, which some resolvers ask a name server for; not IPv4 within IPv6, of which
    Python's versions think differently; not 0.0.0.0, which is every interface.
    """
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address == ipaddress.IPv6Address("::1") or (address.version == 4 and address.is_loopback)


def is_plain(url: str) -> bool:
    """Tell whether anybody on the way can read what is sent to this address."""
    return url.startswith("http://")


def leaves_in_the_clear(url: str) -> bool:
    """Tell whether what is sent to this address leaves the machine, and anybody on the way can exchange it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback_host(parts.hostname or "")
