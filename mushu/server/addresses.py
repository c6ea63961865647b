"""Addresses that a setting may name, and what can be read on the way to them."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from mushu.address import is_loopback_host

#: What libpq calls it when a server must prove who it is.
_VERIFIED = ("verify-ca", "verify-full")


def is_mail_server(text: str) -> bool:
    """Tell whether a mail server can be reached at this address."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def is_web_address(text: str) -> bool:
    """Tell whether this is a web address: with a credential, a query or a blank in it, it is none that others get."""
    try:
        parts = urlsplit(text)
        port_is_good = (1 if parts.port is None else parts.port) > 0
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\,;")
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_good and plain and bare


def is_push_service(text: str) -> bool:
    """Tell whether notifications may be sent there: by TLS, or to a stand-in on this machine."""
    try:
        parts = urlsplit(text)
        port_is_good = (parts.port or 1) > 0
    except ValueError:
        return False
    schemes = ("http", "https") if is_loopback_host(parts.hostname or "") else ("https",)
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in schemes and bool(parts.hostname) and port_is_good and bare


def leaves_in_the_clear(text: str) -> bool:
    """Tell whether what is sent to this web address leaves the machine, and everybody on the way can read it."""
    parts = urlsplit(text)
    return parts.scheme == "http" and not is_loopback_host(parts.hostname or "")


def trusts_the_way(database_url: str, environ: Mapping[str, str]) -> bool:
    """Tell whether a database on another machine is spoken to without TLS, or without making sure that it is that one.

    Args:
        environ: libpq's own variables count where the URL says nothing.
    """
    from sqlalchemy import make_url  # settings are read by what never opens a database, too

    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        return False
    named = url.query.get("host") or url.host or environ.get("PGHOST", "")
    hosts = [host for part in ([named] if isinstance(named, str) else named) for host in part.split(",")]
    distant = [host for host in hosts if host and not host.startswith(("/", "@")) and not is_loopback_host(host)]
    return bool(distant) and url.query.get("sslmode", environ.get("PGSSLMODE")) not in _VERIFIED
