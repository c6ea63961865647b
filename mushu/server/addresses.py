"""Addresses that a setting may name."""

from urllib.parse import urlsplit


def is_mail_server(text: str) -> bool:
    """Tell whether a mail server can be reached at this address."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def is_web_address(text: str) -> bool:
    """Tell whether this is a web address without a credential in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username


def is_push_service(text: str) -> bool:
    """Tell whether notifications may be sent there: by TLS, or to a stand-in on this machine."""
    try:
        parts = urlsplit(text)
        port_is_good = (parts.port or 1) > 0
    except ValueError:
        return False
    schemes = ("http", "https") if parts.hostname in ("127.0.0.1", "::1", "localhost") else ("https",)
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in schemes and bool(parts.hostname) and port_is_good and bare
