"""What a value of a setting must be like. A check returns what is wrong with it, as the end of a sentence.

The sentence begins with the name of the setting: `MUSHU_PORT must lie between 1 and 65535, not be 0`. What may hold a
password is not repeated in it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from mushu.address import is_loopback_host

#: Returns None where the value is good.
SettingCheck: TypeAlias = Callable[[Any], str | None]

APNS_PRODUCTION: Final = "https://api.push.apple.com"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_ADDRESSING: Final = ("auto", "path", "virtual")
_SQLITE_URL: Final = re.compile(r"[^?%]*(?:%[0-9A-Fa-f]{2}[^?%]*)*(?:\?[a-z_]+=[^&=]*(?:&[a-z_]+=[^&=]*)*)?")
_DATABASES: Final = ("sqlite", "postgresql")
_HEADER: Final = re.compile(r"[A-Za-z0-9]{1,64}")
#: Names without a dash that clients or proxies send with another meaning.
_TAKEN_HEADERS: Final = frozenset(
    (
        "accept", "authorization", "connection", "cookie", "date", "dnt", "expect", "forwarded", "from", "host",
        "origin", "pragma", "priority", "range", "referer", "te", "trailer", "upgrade", "via", "warning",
    )
)  # fmt: skip


def between(low: int, high: int) -> SettingCheck:
    """Return the check that a number is not below `low` and not above `high`."""

    def check(value: int) -> str | None:
        return None if low <= value <= high else f"must lie between {low} and {high}, not be {value}"

    return check


def log_level(text: str) -> str | None:
    return None if text.upper() in LOG_LEVELS else f"must be one of {', '.join(LOG_LEVELS)}, not {text!r}"


def s3_addressing(text: str) -> str | None:
    return None if text in _ADDRESSING else f"is auto, path or virtual, not {text!r}"


def mail_address(text: str) -> str | None:
    good = "@" in text and text.isprintable()
    return None if good else f"must be an e-mail address, not {text!r}"


def absolute_path(text: str) -> str | None:
    return None if not text or Path(text).is_absolute() else f"must be an absolute path, not {text!r}"


def mail_server(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    return None if good or not text else "must look like smtp://user:password@mail.example.com:587"


def web_address(text: str) -> str | None:
    """Check an address that others are given: there is no credential, no query and no blank in it."""
    try:
        parts = urlsplit(text)
        port_is_good = (1 if parts.port is None else parts.port) > 0
    except ValueError:
        return _NO_WEB_ADDRESS
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\,;")
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    good = parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_good and plain and bare
    return None if good or not text else _NO_WEB_ADDRESS


def push_service(text: str) -> str | None:
    """Check where notifications are sent: to a host by TLS, or to a stand-in on this machine."""
    try:
        parts = urlsplit(text)
        port_is_good = (parts.port or 1) > 0
    except ValueError:
        return _NO_PUSH_SERVICE
    schemes = ("http", "https") if is_loopback_host(parts.hostname or "") else ("https",)
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    good = parts.scheme in schemes and bool(parts.hostname) and port_is_good and bare
    return None if good else _NO_PUSH_SERVICE


def address_header(name: str) -> str | None:
    """Check the name of the header that carries a client's address (`client_address.py` says why there is no dash)."""
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


def database_url(text: str) -> str | None:
    scheme = text.split(":", 1)[0]
    if text and scheme.split("+")[0] not in _DATABASES:
        return f"must begin with sqlite:/// or postgresql+psycopg://, not with {scheme!r}"
    if scheme.startswith("sqlite") and not text.partition(":")[2].startswith("////"):
        return "must name an absolute path, with four slashes: sqlite:////path/to.db"
    if scheme.startswith("sqlite") and not _SQLITE_URL.fullmatch(text):
        return "must have %3F for each ? in the path, and %25 for each %; behind a ? stand options, such as ?timeout=5"
    try:
        make_url(text or "sqlite://")
    except (ArgumentError, ValueError):  # not repeated: there may be a password in it
        return "must look like postgresql+psycopg://user:password@host:5432/name"
    return None


_NO_WEB_ADDRESS: Final = "must be a web address such as https://keys.example.com"
_NO_PUSH_SERVICE: Final = f"must look like {APNS_PRODUCTION}; http is for a stand-in on this machine only"
