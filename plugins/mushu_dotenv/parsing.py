"""How bytes become statements: python-dotenv says what each means, this module where it and its value stand.

A fault is returned, not raised, so that no traceback comes near the content.

Where a shell could be in the middle of something is told by one conservative scan of the text, and no model of a shell.
The scan knows quotes, comments and what is closed on its own line. At anything else it stops, and nothing below that
place counts as safe.
"""

import io
import re
from dataclasses import dataclass
from typing import Final

from dotenv.parser import parse_stream

MARK: Final = "\ufeff"
NEWLINE: Final = re.compile(r"\r\n|\n|\r")
# python-dotenv looks for comments in a way that takes quadratic time on blanks. Only where a run begins is one looked
# for: from each blank, a run of a thousand would be read five hundred times.
_ENDLESS_BLANKS: Final = re.compile(r"(?<![^\S\r\n])[^\S\r\n]{1024}")

# The grammar of python-dotenv, whose parser does not tell where a value stands. Whoever changes a document parses the
# result again and compares, so a cut in the wrong place is found, not stored.
_BLANKS: Final = r"[^\S\r\n]"
_HEAD: Final = re.compile(rf"(?:\s*[\r\n])?{_BLANKS}*+(?P<export>export{_BLANKS}++)?+(?:'[^']++'|[^=\#\s]++)")
_EQUALS: Final = re.compile(rf"{_BLANKS}*+=")
_SPACE: Final = re.compile(rf"{_BLANKS}*+")
_QUOTED: Final = re.compile(r"""'(?:\\.|[^'\\])*+'|"(?:\\.|[^"\\])*+\"""", re.DOTALL)
_REST_OF_LINE: Final = re.compile(r"[^\r\n]*+")
_COMMENT: Final = re.compile(r"\s#")
_LEAD: Final = re.compile(r"\s*[\r\n]")


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


@dataclass(frozen=True, slots=True, repr=False)
class Cut:
    """A statement in three pieces, which joined are the statement."""

    before: str
    #: The value as it is written, with its quotes; empty where there is none.
    written: str
    after: str
    #: Whether the name stands behind `export`.
    exported: bool

    @property
    def comment(self) -> str:
        """The comment behind the value, without the blanks around it; empty where there is none."""
        return self.after.strip()


def cut(statement: str) -> Cut | None:
    """Return the pieces of a statement that binds a name, or None for anything else."""
    head = _HEAD.match(statement)
    if head is None:
        return None
    exported = head["export"] is not None
    equals = _EQUALS.match(statement, head.end())
    if equals is None:
        return Cut(statement[: head.end()], "", statement[head.end() :], exported)
    start, end = _span(statement, equals.end())
    return Cut(statement[:start], statement[start:end], statement[end:], exported)


def lead_of(statement: str) -> str:
    """Return the blank lines that python-dotenv counts to `statement`, though they stand before its line."""
    lead = _LEAD.match(statement)
    return lead.group() if lead else ""


def line_of(variable: str, value: str, *, exported: bool) -> str:
    """Return the one spelling of a binding that every program reads alike: nothing around it, and no quotes."""
    return f"{'export ' if exported else ''}{variable}={value}"


def _span(statement: str, equals_end: int) -> tuple[int, int]:
    """Return where the value begins and ends; an empty one begins right behind the `=`, as a shell would want it."""
    space = _SPACE.match(statement, equals_end)
    start = space.end() if space else equals_end
    quoted = _QUOTED.match(statement, start)
    if quoted is not None:
        return start, quoted.end()
    rest = _REST_OF_LINE.match(statement, start)
    value = rest.group() if rest else ""
    if not value or (start > equals_end and value.startswith("#")):
        return equals_end, equals_end
    comment = _COMMENT.search(value)
    return start, start + len((value[: comment.start()] if comment else value).rstrip())


# Words that end a shell, change how it reads on, or begin something that a later line ends.
_BUILTINS: Final = (
    r"(?:return|exit|exec|eval|source|\.|set|trap|kill|break|continue|shopt|enable|alias|builtin|command)"
)
_COMPOUNDS: Final = r"(?:if|then|elif|else|while|until|for|case|select|function|do|time|coproc|!|\{|\[\[)"
_END: Final = r"(?![^\s;&|])"
_SINGLE: Final = r"'[^']*+'"
_DOUBLE: Final = r'"(?:[^"\\]|\\[\s\S])*+"'
_WORD: Final = rf"(?:[^\s'\"\\`;&|()<>#]|\\[^\n]|{_SINGLE}|{_DOUBLE})*+"
#: A substitution, or brackets, with nothing in it that could reach beyond.
_CLOSED: Final = r"`[^`'\"\\\n]*+`|\$\{[^}'\"`\\\n]*+\}|\((?:[^()'\"`\\\n]|'[^'\n]*+'|\"[^\"\\`$\n]*+\")*+\)"
# No alternative can fail far from where it begins, but for one that ends the scan.
_TOKEN: Final = re.compile(
    r"[^\\\#'\"`$<;&|()]++|"
    r"(?P<escape>\\(?:\r\n|[\s\S])?+)"
    r"|(?P<comment>(?<![^\s;&|()])\#[^\n]*+)"
    rf"|(?P<odd>\$'|<<|[;&|][ \t]*+(?:{_BUILTINS}|{_COMPOUNDS}){_END}|\|[ \t]*+(?=\r?\n|\Z))"
    rf"|(?P<single>{_SINGLE})|(?P<double>{_DOUBLE})|(?P<closed>{_CLOSED})"
    r"|(?P<open>['\"])"
    r"|(?P<other>[`()]|\$\{)"
)
_CLOSED_RUN: Final = re.compile(_CLOSED)
_UNSETTLED: Final = re.compile(r"`|\$\(|\$\{")
_COMMAND: Final = re.compile(rf"{_WORD}(?:[ \t]++[A-Za-z_]\w*+={_WORD})*+[ \t]++{_BUILTINS}{_END}")


@dataclass(frozen=True, slots=True)
class ShellScan:
    """Where lines of the text are inside something, as far as could be told."""

    #: Stretches that go on over the end of a line, by where they begin and end.
    stretches: tuple[tuple[int, int], ...]
    #: Where the scan stopped, at something that a later line may end; None if it came to the end.
    stopped_at: int | None
    #: Where a quote begins that nothing closes, so that no shell reads the text; None if there is none.
    unclosed_at: int | None

    def obstacle(self, place: int) -> int | None:
        """Return where that begins which a shell may be in the middle of at `place`; None if it is in nothing."""
        if self.stopped_at is not None and self.stopped_at < place:
            return self.stopped_at
        return next((start for start, end in self.stretches if start < place < end), None)

    def begun_between(self, start: int, stop: int) -> int | None:
        """Return where that begins, from `start` on, which may not end before `stop`; None if there is nothing."""
        if self.stopped_at is not None and start <= self.stopped_at < stop:
            return self.stopped_at
        return next((begin for begin, end in self.stretches if start <= begin < stop < end), None)


def scanned(text: str) -> ShellScan:
    """Scan `text` in linear time."""
    stretches: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind is None:
            continue
        piece = token.group()
        if kind == "open":
            return ShellScan(tuple(stretches), None, token.start())
        if kind in ("odd", "other") or (kind == "double" and _UNSETTLED.search(_CLOSED_RUN.sub("", piece))):
            return ShellScan(tuple(stretches), token.start(), None)
        if kind in ("single", "double") and "\n" in piece:
            stretches.append(token.span())
    return ShellScan(tuple(stretches), None, None)


def is_command(value: str) -> bool:
    """Tell whether a shell takes a word behind `value`, the rest of an assignment, for a command that ends it."""
    return _COMMAND.match(value) is not None
