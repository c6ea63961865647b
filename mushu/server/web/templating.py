"""What templates are written with: addresses of static files, moments, numbers, and names that others wrote.

A static file has the digest of its content in its address: a browser keeps it, and an upgrade brings another one.
"""

import unicodedata
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from flask import Flask, request, url_for
from flask_wtf.csrf import generate_csrf
from humanize import naturaldelta
from markupsafe import Markup, escape

from mushu.server.clock import rfc3339
from mushu.server.core import get_core
from mushu.terminal import is_readable

_STATIC: Final = Path(__file__).with_name("static")
#: Seconds that a browser keeps a file with its digest in its address.
KEPT: Final = 31_536_000
#: Letters of a version that are shown of a long one, and from which on it is one.
_SHORT: Final = 8
_LONG: Final = 16


@cache
def digest_of(name: str) -> str:
    """Return the first letters of the SHA-256 of a static file; the files of a running server do not change."""
    return sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a static file."""
    return url_for("static", filename=name, v=digest_of(name))


def max_age(filename: str | None) -> int | None:
    """Return for how many seconds a static file may be kept; None: it is asked for each time, and answered with 304."""
    named = request.args.get("v")
    return KEPT if named and filename in _static_files() and digest_of(filename) == named else None


@cache
def _static_files() -> frozenset[str | None]:
    return frozenset(path.name for path in _STATIC.iterdir())


def visible(text: str) -> Markup:
    """Return the text of others with each character that cannot be seen written as its number.

    A mark that turns the direction of what follows would let one name look like another.
    """
    if text.isascii() and text.isprintable():  # as nearly all names are: there is nothing to be made visible
        return escape(str.__str__(text))
    return Markup("").join(
        letter if is_readable(letter) else Markup('<small class="ctl">U+{:04X}</small>').format(ord(letter))
        for letter in unicodedata.normalize("NFC", text)
    )


def exact(moment: datetime) -> str:
    """Return a moment in full, in UTC."""
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"


def day(moment: datetime) -> str:
    """Return the day of a moment, in UTC."""
    return f"{moment.day} {moment:%B %Y}"


def ago(moment: datetime) -> Markup:
    """Return how long ago, or in how long, with the exact moment behind it."""
    passed = get_core().clock() - moment
    length = naturaldelta(abs(passed), months=False)
    if abs(passed).total_seconds() < 1:
        words = "now"
    else:
        words = f"{length} ago" if passed.total_seconds() > 0 else f"in {length}"
    # None of the three comes from others, and a page says this a hundred times.
    return Markup(f'<time datetime="{rfc3339(moment)}" title="{exact(moment)}">{words}</time>')  # noqa: S704


def number(value: int | None) -> str:
    """Return a number with its thousands apart; a dash where it is unknown, which is not 0."""
    return "—" if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """Return how many there are, as "1 key" or "2 keys"."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def version(name: str) -> Markup:
    """Return the version of what a destination holds; of a digest, its first letters, with the whole behind them."""
    if len(name) <= _LONG:
        return visible(name)
    return Markup('<span title="{}">{}…</span>').format(name, visible(name[:_SHORT]))


def capitalized(words: Markup) -> Markup:
    """Return words that begin with a capital, as a line of its own does; the rest of them stays as it is."""
    return words[:1].upper() + words[1:]


def with_code(text: str) -> Markup:
    """Return a sentence in which what stands between backticks is code."""
    parts = enumerate(escape(part) for part in text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in parts)


def install(app: Flask) -> None:
    app.jinja_env.filters.update(
        visible=visible, exact=exact, day=day, ago=ago, number=number, counted=counted, version=version,
        with_code=with_code, capitalized=capitalized,
    )  # fmt: skip
    app.jinja_env.globals.update(asset=asset, csrf_token=generate_csrf)
    app.get_send_file_max_age = max_age  # type: ignore[method-assign]
