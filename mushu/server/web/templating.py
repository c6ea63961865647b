"""What templates are written with: addresses of static files, moments, numbers, and names that others wrote.

A static file has the digest of its content in its address: a browser keeps it, and an upgrade brings another one.
"""

import re
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from flask import Flask, request, url_for
from flask.templating import Environment
from flask_wtf.csrf import generate_csrf
from humanize import naturaldelta
from jinja2 import Undefined
from jinja2.utils import missing
from markupsafe import Markup, escape

from mushu.server.clock import rfc3339
from mushu.server.core import get_core
from mushu.server.web.markup import AsciiData, Html, icon, readable, said, select
from mushu.terminal import printable

_STATIC: Final = Path(__file__).with_name("static")
#: Seconds that a browser keeps a file with its digest in its address.
KEPT: Final = 31_536_000
#: Letters of a version that are shown of a long one, and from which on it is one.
_SHORT: Final = 8
_LONG: Final = 16
#: As `rfc3339` writes it, and the word before it, which is none before "3 hours ago".
_MOMENT: Final = re.compile(r"(?:at )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def address(endpoint: str, **named: Any) -> str:
    """Return the address of a page or a file, which is the same in each request with the same prefix."""
    return address_under(request.script_root, endpoint, **named)


@lru_cache(maxsize=2_048)
def address_under(prefix: str, endpoint: str, **named: Any) -> str:  # noqa: ARG001 - what is cached depends on it
    """Return the same, for who knows the prefix of the request already."""
    return url_for(endpoint, **named)


@cache
def digest_of(name: str) -> str:
    """Return the first letters of the SHA-256 of a static file; the files of a running server do not change."""
    return sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a static file."""
    return address("static", filename=name, v=digest_of(name))


def max_age(filename: str | None) -> int | None:
    """Return for how many seconds a static file may be kept; None: it is asked for each time, and answered with 304."""
    named = request.args.get("v")
    return KEPT if named and filename in _static_files() and digest_of(filename) == named else None


@cache
def _static_files() -> frozenset[str | None]:
    return frozenset(path.name for path in _STATIC.iterdir())


def visible(text: str) -> Markup:
    """Return the text of others with each character that cannot be seen written as its number."""
    return Markup(readable(text))  # noqa: S704 - it is escaped


def exact(moment: datetime) -> str:
    """Return a moment in full, in UTC."""
    return f"{day(moment)}, {moment:%H:%M:%S} UTC"


def day(moment: datetime) -> str:
    """Return the day of a moment, in UTC."""
    return f"{moment.day} {moment:%B %Y}"


def ago(moment: datetime) -> Markup:
    """Return how long ago, or in how long, with the exact moment behind it."""
    return Markup(time_from(get_core().clock(), moment))  # noqa: S704 - nothing in it comes from others


def time_from(now: datetime, moment: datetime) -> Html:
    """Return what `ago` does, of a page whose moments are told from one."""
    passed = (now - moment).total_seconds()
    words = f"{nearest(passed)} ago" if passed >= 1 else f"in {nearest(-passed)}" if passed <= -1 else "now"
    return Html(f"{_opened(moment)}{words}</time>")


def nearest(seconds: float) -> str:
    """Return a length in words, rounded to what they count: of 90 days that began a minute ago, 90 are left."""
    unit = 1 if seconds < _MINUTE else _MINUTE if seconds < _HOUR else _HOUR if seconds < _DAY else _DAY
    return _length(round(seconds / unit) * unit)


@lru_cache(maxsize=1_024)
def _length(seconds: int) -> str:
    return naturaldelta(timedelta(seconds=seconds), months=False)


@lru_cache(maxsize=1_024)
def _opened(moment: datetime) -> str:
    return f'<time datetime="{rfc3339(moment)}" title="{exact(moment)}">'


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
    return Markup('<span title="{}">{}&hellip;</span>').format(printable(name), visible(name[:_SHORT]))


def capitalized(words: Markup) -> Markup:
    """Return words that begin with a capital, as a line of its own does; the rest of them stays as it is."""
    return words[:1].upper() + words[1:]


def with_code(text: str) -> Markup:
    """Return a sentence in which what stands between backticks is code."""
    parts = enumerate(escape(part) for part in text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in parts)


def with_moments(sentence: str) -> Markup:
    """Return a sentence that HTTP answers, too, in which each moment is told by its distance."""
    parts = enumerate(_MOMENT.split(sentence))
    return Markup("").join(ago(datetime.fromisoformat(part)) if place % 2 else visible(part) for place, part in parts)


def token() -> Markup:
    """Return the field of a form that proves that it is from a page of this browser."""
    return Markup(f'<input name="csrf_token" type="hidden" value="{generate_csrf()}">')  # noqa: S704 - a signature


class PageTemplates(Environment):
    """Flask's templates, with what all of them know as one dictionary: a chain of two is gone through for each page."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        return {**self.globals, **(d or {})}


def _for_templates(piece: Callable[..., Html]) -> Callable[..., Markup]:
    return lambda *given: Markup(piece(*given))  # noqa: S704 - what others wrote is escaped in it


def _said(tone: str, words: str, tag: str) -> Markup:
    return Markup(said(tone, Html(escape(words)), tag))  # noqa: S704 - no type tells a template what is markup


class NothingSuch(Undefined):
    """What a template reads of an object that has it not: a fault of ours, and no dash on a page.

    A name that a page was not given, and a field that a form has not, are nothing, as in every template.
    """

    def __init__(self, hint: str | None = None, obj: Any = missing, name: str | None = None, *more: Any) -> None:
        if obj is not missing and not isinstance(obj, Mapping):
            raise AttributeError(f"{type(obj).__name__} has no {name!r}")
        super().__init__(hint, obj, name, *more)


def install(app: Flask) -> None:
    app.jinja_env.undefined = NothingSuch
    app.jinja_env.filters.update(
        visible=visible, exact=exact, day=day, ago=ago, number=number, counted=counted, version=version,
        with_code=with_code, with_moments=with_moments, capitalized=capitalized,
    )  # fmt: skip
    app.jinja_env.add_extension(AsciiData)
    app.jinja_env.globals.update(
        address=address, asset=asset, token=token,
        icon=_for_templates(icon), said=_said, select=_for_templates(select),
    )  # fmt: skip
    app.get_send_file_max_age = max_age  # type: ignore[method-assign]
