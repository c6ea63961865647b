"""How bytes become statements: python-dotenv says what each means, this module where each stands.

A fault is returned, not raised, so that no traceback comes near the content.
"""

import io
import re
from dataclasses import dataclass
from typing import Final

from dotenv.parser import parse_stream

MARK: Final = "\ufeff"
NEWLINE: Final = re.compile(r"\r\n|\n|\r")
# python-dotenv looks for comments in a way that takes quadratic time on blanks. Only where a run begins is one looked
# for: from each blank anew, runs of a thousand would be read five hundred times.
_ENDLESS_BLANKS: Final = re.compile(r"(?<![^\S\r\n])[^\S\r\n]{1024}")


@dataclass(frozen=True, slots=True, repr=False)
class Statement:
    """What python-dotenv makes of one stretch of the text: a binding, or (with no key) comments and blank lines."""

    offset: int
    text: str
    key: str | None
    value: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Parsed:
    """A whole file, or as much of it as could be understood, and the fault that ended it."""

    text: str
    statements: tuple[Statement, ...] = ()
    #: The end of a sentence that begins with the path; shows nothing of the content.
    fault: str | None = None


def parsed(data: bytes) -> Parsed:
    """Return what `data` means."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        way_out = "Convert it, for example with `iconv -f LATIN1 -t UTF-8`"
        return Parsed("", fault=f"is not UTF-8 (byte {error.start + 1}). {way_out}")
    nul = text.find("\0")
    if nul >= 0:
        return Parsed(text, fault=f"has a NUL on line {line_at(text, nul)}. Remove it")
    blanks = _ENDLESS_BLANKS.search(text)
    if blanks is not None:
        line = line_at(text, blanks.start())
        return Parsed(text, fault=f"has more than a thousand blanks in a row on line {line}. Remove them")
    return _statements(text)


def line_at(text: str, offset: int, begin: int = 0) -> int:
    """Return the number of the line that `offset` is on, counted from 1 at `begin`, as editors count."""
    return len(NEWLINE.findall(text, begin, offset)) + 1


def _statements(text: str) -> Parsed:
    statements: list[Statement] = []
    offset = 0
    for binding in parse_stream(io.StringIO(text)):
        stretch = binding.original.string
        # The parser drops a byte order mark, older ones do not; what the first stretch begins with tells.
        if offset == 0 and not text.startswith(stretch):
            offset = len(MARK)
        if binding.error:
            line = line_at(text, offset + len(stretch) - len(stretch.lstrip()))
            return Parsed(text, fault=f"does not parse at line {line}. Mend that line, perhaps a quote is not closed")
        statements.append(Statement(offset, stretch, binding.key, binding.value))
        offset += len(stretch)
    return Parsed(text, tuple(statements))
