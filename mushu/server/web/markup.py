"""Pieces of markup as plain text, for what a page has hundreds of: a `Markup` costs more than the text that it marks.

`Html` is the type of markup in which all text of others is escaped. mypy takes no other text in its place.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Final, NewType

from jinja2.ext import Extension
from jinja2.lexer import TOKEN_DATA, Token, TokenStream
from markupsafe import escape

from mushu.terminal import is_readable

Html = NewType("Html", str)

#: What has a meaning in markup, and all but what is plain: ASCII that is seen as it is, and none of the former.
_MEANINGFUL: Final = re.compile("[&<>\"']").search
_NOT_PLAIN: Final = re.compile("[^ !#-%(-;=?-~]").search
_SHAPES: Final = {
    "ok": "circle-check",
    "warn": "triangle-alert",
    "bad": "circle-x",
    "off": "circle-dashed",
    "stop": "ban",
    "wait": "clock",
}


def escaped(text: str) -> Html:
    """Return the text of others as markup."""
    return Html(text) if _MEANINGFUL(text) is None else Html(str(escape(str.__str__(text))))


def readable(text: str) -> Html:
    """Return the text of others with each character that cannot be seen written as its number.

    A mark that turns the direction of what follows would let one name look like another.
    """
    if _NOT_PLAIN(text) is None:  # as nearly all names are
        return Html(text)
    return Html(
        "".join(
            escape(letter) if is_readable(letter) else f'<small class="ctl">U+{ord(letter):04X}</small>'
            for letter in unicodedata.normalize("NFC", text)
        )
    )


def select(name: str, label: str, options: Iterable[tuple[str, str]], chosen: str) -> Html:
    """Return a field that offers some values in words, and a label that a screen reader reads.

    Args:
        chosen: the value that is chosen now; where it is none of them, a browser takes the first.
    """
    offered = "".join(
        [
            f'<option value="{escaped(value)}"{" selected" if value == chosen else ""}>{escaped(words)}</option>'
            for value, words in options
        ]
    )
    named = f'<label class="unseen" for="{name}">{escaped(label)}</label>'
    return Html(f'<div>{named}<select id="{name}" name="{name}">{offered}</select></div>')


class AsciiData(Extension):
    """Jinja with what templates say in ASCII, other characters by their number.

    A page that is ASCII is encoded at once, any other letter by letter; that takes as long as to draw its rows.
    """

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            is_data = token.type == TOKEN_DATA
            yield Token(token.lineno, TOKEN_DATA, in_ascii(token.value)) if is_data else token


def in_ascii(ours: str) -> Html:
    """Return markup of ours with characters that are not ASCII by their number; what others wrote is left alone."""
    return Html(ours.encode("ascii", "xmlcharrefreplace").decode())


@lru_cache(maxsize=256)
def icon(name: str, label: str = "") -> Html:
    """Return an icon; `icons.html` must stand in its page. One without a label says nothing to a screen reader."""
    spoken = f'role="img" aria-label="{in_ascii(escaped(label))}"' if label else 'aria-hidden="true"'
    return Html(f'<svg class="i" {spoken}><use href="#i-{escaped(name)}"/></svg>')


def said(tone: str, words: Html, tag: str) -> Html:
    """Return an element that says how something is, with the shape of that before the words."""
    return Html(f"{_opened(tone, tag)}<span>{words}</span></{tag}>")


@cache
def _opened(tone: str, tag: str) -> str:
    kind = "off" if tone in ("stop", "wait") else tone
    return f'<{tag} class="say {kind}">{icon(_SHAPES[tone])}'
