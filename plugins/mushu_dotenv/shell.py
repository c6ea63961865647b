"""Where a shell could be in the middle of something: one conservative scan of the text, and no model of a shell.

The scan knows quotes, comments and what is closed on its own line. At anything else it stops, and nothing below that
place counts as safe.
"""

import re
from dataclasses import dataclass
from typing import Final

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
