"""What a value of a setting must be like. A check returns what is wrong with it, as the end of a sentence.

The sentence begins with the name of the setting: `MUSHU_PORT must lie between 1 and 65535, not be 0`. What may hold a
password is not repeated in it. `client_address.py` has the check of the header that it reads.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from mushu.address import is_loopback_host

#: Returns None where the value is good.
SettingCheck: TypeAlias = Callable[[Any], str | None]

APNS_PRODUCTION: Final = "https://api.push.apple.com"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_SQLITE_URL: Final = re.compile(r"[^?%]*(?:%[0-9A-Fa-f]{2}[^?%]*)*(?:\?[a-z_]+=[^&=]*(?:&[a-z_]+=[^&=]*)*)?")
_DATABASES: Final = ("sqlite", "postgresql")


def between(low: int, high: int) -> SettingCheck:
    """Return the check that a number is not below `low` and not above `high`."""

    def check(value: int) -> str | None:
        return None if low <= value <= high else f"must lie between {low} and {high}, not be {value}"

    return check


def log_level(text: str) -> str | None:
    return None if text.upper() in LOG_LEVELS else f"must be one of {', '.join(LOG_LEVELS)}, not {text!r}"


def one_of(*words: str) -> SettingCheck:
    """Return the check that a text is one of these words."""

    def check(text: str) -> str | None:
        return None if text in words else f"is {', '.join(words[:-1])} or {words[-1]}, not {text!r}"

    return check


def mail_address(text: str) -> str | None:
    good = "@" in text and text.isprintable()
    return None if good else f"must be an e-mail address, not {text!r}"


def absolute_path(text: str) -> str | None:
    return None if not text or Path(text).is_absolute() else f"must be an absolute path, not {text!r}"


def mail_server(text: str) -> str | None:
    good = not text or _parts_of(text, "smtp", "smtps")
    return None if good else "must look like smtp://user:password@mail.example.com:587"


def limits_store(text: str) -> str | None:
    """Check where limits are counted for several machines; there may be a password in it."""
    scheme, _, path = text.partition("://")
    good = not text or _parts_of(text, "redis", "rediss") or (scheme == "redis+unix" and path.startswith("/"))
    return None if good else "must look like redis://:password@redis.example.com:6379/0, rediss://… for TLS"


def web_address(text: str) -> str | None:
    """Check an address that others are given: there is no credential, no query and no blank in it."""
    parts = _parts_of(text, "http", "https")
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'<>\\,;")
    good = not text or (parts and parts.port != 0 and plain and _is_bare(parts))
    return None if good else "must be a web address such as https://keys.example.com"


def push_service(text: str) -> str | None:
    """Check where notifications are sent: to a host by TLS, or to a stand-in on this machine."""
    parts = _parts_of(text, "http", "https")
    good = parts and parts.path in ("", "/") and _is_bare(parts)
    if parts and good and (parts.scheme == "https" or is_loopback_host(parts.hostname or "")):
        return None
    return f"must look like {APNS_PRODUCTION}; http is for a stand-in on this machine only"


def _parts_of(text: str, *schemes: str) -> SplitResult | None:
    """Return the parts of a URL with a host and one of these schemes; None where it is none."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # fails where it is no number, or too high
    except ValueError:
        return None
    return parts if parts.scheme in schemes and parts.hostname else None


def _is_bare(parts: SplitResult) -> bool:
    return not (parts.username or parts.password or parts.query or parts.fragment)


def database_url(text: str) -> str | None:
    if not text:
        return None
    scheme = text.split(":", 1)[0]
    if scheme.split("+")[0] not in _DATABASES:
        return f"must begin with sqlite:/// or postgresql+psycopg://, not with {scheme!r}"
    if scheme.startswith("sqlite") and not text.partition(":")[2].startswith("////"):
        return "must name an absolute path, with four slashes: sqlite:////path/to.db"
    if scheme.startswith("sqlite") and not _SQLITE_URL.fullmatch(text):
        return "must have %3F for each ? in the path, and %25 for each %; behind a ? stand options, such as ?timeout=5"
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(text)
    except (ArgumentError, ValueError):  # not repeated: there may be a password in it
        return "must look like postgresql+psycopg://user:password@host:5432/name"
    return None
