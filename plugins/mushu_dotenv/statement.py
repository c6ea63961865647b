"""Where the pieces of one statement stand, and how the line of ours is written.

Follows the grammar of python-dotenv, whose parser tells what a statement means but not where its value stands.
Whoever changes a document parses the result again and compares, so a cut in the wrong place is found, not stored.
"""

import re
from dataclasses import dataclass
from typing import Final

_BLANKS: Final = r"[^\S\r\n]"
_HEAD: Final = re.compile(rf"(?:\s*[\r\n])?{_BLANKS}*+(?P<export>export{_BLANKS}++)?+(?:'[^']++'|[^=\#\s]++)")
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
