"""One statement of a `.env` file, cut where its value begins and ends, so that only the value is replaced.

The cuts follow the grammar of python-dotenv, whose parser tells what a statement means but not where its value stands.
Whoever changes a document parses the result again and compares, so a cut in the wrong place is found, not stored.
"""

import re
from dataclasses import dataclass
from typing import Final

_BLANKS: Final = r"[^\S\r\n]"
_HEAD: Final = re.compile(rf"(?:\s*[\r\n])?{_BLANKS}*+(?:export{_BLANKS}++)?+(?:'[^']++'|[^=\#\s]++)")
_EQUALS: Final = re.compile(rf"{_BLANKS}*+=")
_SPACE: Final = re.compile(rf"{_BLANKS}*+")
_QUOTED: Final = re.compile(r"""'(?:\\.|[^'\\])*+'|"(?:\\.|[^"\\])*+\"""", re.DOTALL)
_REST_OF_LINE: Final = re.compile(r"[^\r\n]*+")
_COMMENT: Final = re.compile(r"\s#")
_LEAD: Final = re.compile(r"\s*[\r\n]")


@dataclass(frozen=True, slots=True, repr=False)
class Cut:
    """A statement in three pieces, which joined are the statement."""

    before: str
    #: The value as it is written, with its quotes; empty where there is none.
    written: str
    after: str
    #: False for a bare `NAME`.
    has_equals: bool

    def filled(self, value: str) -> str:
        """Return what must stand in place of `written` so that the statement means `value`, in the same quotes."""
        if not self.has_equals:
            # Glued to the value, `#` would be a part of it.
            return f"={value} " if self.after.startswith("#") else f"={value}"
        quote = self.written[:1] if self.written[:1] in ("'", '"') else ""
        return f"{quote}{value}{quote}"


def cut(statement: str) -> Cut | None:
    """Return the pieces of a statement that binds a name, or None for anything else."""
    head = _HEAD.match(statement)
    if head is None:
        return None
    equals = _EQUALS.match(statement, head.end())
    if equals is None:
        return Cut(statement[: head.end()], "", statement[head.end() :], has_equals=False)
    start, end = _span(statement, equals.end())
    return Cut(statement[:start], statement[start:end], statement[end:], has_equals=True)


def lead_of(statement: str) -> str:
    """Return the blank lines that python-dotenv counts to `statement`, though they stand before its line."""
    lead = _LEAD.match(statement)
    return lead.group() if lead else ""


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
