"""The text of a `.env` file, and how to change one binding of it and nothing else. Pure: no file is touched here.

A file may hold any number of secrets, so no object of this module shows its content, and no function that raises has
it in a local variable: a traceback printed with locals gives nothing away.
"""

import hmac
import io
import json
import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from dotenv import dotenv_values

from mushu.destination import Holding, Secret, digest_of
from mushu_dotenv.parsing import MARK, NEWLINE, Parsed, Statement, cut, lead_of, line_at, line_of, parsed
from mushu_dotenv.readers import ReaderProblem, carries_return, reader_problem

#: What is held where there is no file, or no such variable in it.
ABSENT: Final = Holding(version="absent", digest=None)
_EMPTY: Final = Holding(version="empty", digest=None)
_JOINED: Final = re.compile(r"\\(?:\r\n|\r|\n)\Z")
# Versions are stored, and what stands in a file may be a weak password: a hash without a salt would be something to
# guess it by. Only the process that read a version compares it, so the salt need not outlive the process.
_SALT: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True, repr=False)
class Added:
    """The line was appended, behind `glue` where the file had no newline at its end."""

    glue: str


@dataclass(frozen=True, slots=True, repr=False)
class Replaced:
    """`written` made way for `filled`; both as they stand in the file, quotes included."""

    written: str
    filled: str


Undo = Added | Replaced


@dataclass(frozen=True, slots=True, repr=False)
class FormerLine:
    """The undo of one write, and whether the write made the file."""

    undo: Undo
    made_file: bool

    def sealed(self) -> Secret:
        """Return this as a secret that `unsealed` opens."""
        pieces = [self.undo.glue] if isinstance(self.undo, Added) else [self.undo.written, self.undo.filled]
        return Secret(json.dumps([self.made_file, *pieces]))


def unsealed(secret: Secret) -> FormerLine:
    """Return the memory that was sealed into `secret`."""
    made_file, *pieces = json.loads(secret.reveal())
    return FormerLine(Added(*pieces) if len(pieces) == 1 else Replaced(*pieces), bool(made_file))


class Document:
    """The bytes of one file, and what they mean; parsed when first asked for more than the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def fault(self) -> str | None:
        """Why the file is not understood, as the end of a sentence, and the way out; None if it is."""
        return self._parsed.fault

    @property
    def values(self) -> dict[str, str | None]:
        """What all variables are, in the order of the file."""
        return {statement.key: statement.value for statement in self._parsed.statements if statement.key is not None}

    def loads_as(self, other: "Document") -> bool:
        """Tell whether a program that loads this file with python-dotenv gets the values of `other`."""
        text = self.data.decode(errors="replace")
        return list(dotenv_values(stream=io.StringIO(text), interpolate=False).items()) == list(other.values.items())

    @cached_property
    def _parsed(self) -> Parsed:
        return parsed(self.data)

    def lines(self, variable: str) -> list[int]:
        """Return the numbers of the lines, counted from 1, on which `variable` is set."""
        found: list[int] = []
        line, counted = 1, 0
        for statement in self._bindings(variable):
            begin = statement.offset + len(lead_of(statement.text))
            # From the one before, not from the top: a file can hold a million of them.
            line += line_at(self._parsed.text, begin, counted) - 1
            counted = begin
            found.append(line)
        return found

    def holding(self, variable: str) -> Holding:
        """Return what `variable` is to a program that reads the file: the last binding wins."""
        bindings = self._bindings(variable)
        if not bindings:
            return ABSENT
        value = bindings[-1].value
        return held(value) if value else _EMPTY

    def with_value(self, variable: str, secret: Secret) -> tuple["Document", Undo]:
        """Return the document in which `variable` is `secret`, and what it takes to go back."""
        return self._changed(variable, secret.reveal())

    def reader_problem(self, variable: str) -> ReaderProblem | None:
        """Return why not every program that can read this document would read `variable`; None if each would."""
        changed, _ = self._changed(variable, "x")
        return reader_problem(self._parsed, parsed(changed.data), variable)

    def without(self, variable: str) -> "Document":
        """Return the document without the line of `variable`; blank lines before it stay."""
        statement = self._bindings(variable)[-1]
        lead = lead_of(statement.text)
        # A line that ends in a backslash would take in the next one.
        joined = _JOINED.search(self._parsed.text, 0, statement.offset + len(lead)) is not None
        return self._with(statement, lead + (self._newline() if joined else ""))

    def undone(self, variable: str, undo: Undo) -> "Document | None":
        """Return the document as it was before `undo`'s change, other changes kept; None if the line was reworked."""
        statement = self._bindings(variable)[-1]
        whole, end = self._parsed.text, statement.offset + len(statement.text)
        if isinstance(undo, Added):
            shorter = self.without(variable)
            return Document(shorter.data.removesuffix(undo.glue.encode())) if end == len(whole) else shorter
        start = whole.rfind(undo.filled, 0, end)
        stop = start + len(undo.filled)
        if start < 0 or stop <= statement.offset + len(lead_of(statement.text)):
            return None
        return Document((whole[:start] + undo.written + whole[stop:]).encode())

    def differs_only_in(self, variable: str, other: "Document") -> bool:
        """Tell whether python-dotenv reads the same from both, in the same order, but for `variable`."""
        mine, theirs = (
            [item for item in values.items() if item[0] != variable] for values in (self.values, other.values)
        )
        return mine == theirs

    def _bindings(self, variable: str) -> list[Statement]:
        return [statement for statement in self._parsed.statements if statement.key == variable]

    def _with(self, statement: Statement, text: str) -> "Document":
        whole, end = self._parsed.text, statement.offset + len(statement.text)
        return Document((whole[: statement.offset] + text + whole[end:]).encode())

    def _changed(self, variable: str, value: str) -> tuple["Document", Undo]:
        bindings = self._bindings(variable)
        return self._filled(bindings[-1], variable, value) if bindings else self._extended(variable, value)

    def _filled(self, statement: Statement, variable: str, value: str) -> tuple["Document", Undo]:
        """Write the line anew; a comment behind the value moves to a line of its own above."""
        whole, start = self._parsed.text, statement.offset + len(lead_of(statement.text))
        pieces = cut(statement.text)
        if pieces is None:  # pragma: no cover - a binding always has a name
            raise AssertionError
        line = line_of(variable, value, exported=pieces.exported or self._all_exported(statement))
        block = self._apart(whole[:start])
        if pieces.comment:
            block += pieces.comment + self._newline()
            block += self._apart(block)
        written = whole[start : statement.offset + len(statement.text)].rstrip("\r\n")
        changed = whole[:start] + block + line + whole[start + len(written) :]
        return Document(changed.encode()), Replaced(written, block + line)

    def _extended(self, variable: str, value: str) -> tuple["Document", Undo]:
        """Add a line at the end, or at the top where the end leaves room for doubt and the top does not."""
        # Where carriage returns end comments only, a shell can read the file.
        text, newline = self._parsed.text, self._newline() if carries_return(self._parsed) else "\n"
        line = line_of(variable, value, exported=self._all_exported(None)) + newline
        unfinished = text not in ("", MARK) and not text.endswith(_line_ends(newline))
        glue = newline if unfinished else self._apart(text)
        at_end = Document((text + glue + line).encode())
        if reader_problem(self._parsed, at_end._parsed, variable) is None:
            return at_end, Added(glue)
        at_top = Document((line + text).encode())
        if not _begins_loosely(text) and reader_problem(self._parsed, at_top._parsed, variable) is None:
            return at_top, Added("")
        return at_end, Added(glue)

    def _all_exported(self, own: Statement | None) -> bool:
        """Tell whether all bindings but `own` begin with `export`: such a file is a shell's."""
        others = [found for found in self._parsed.statements if found.key is not None and found is not own]
        cuts = [pieces for found in others if found.value is not None and (pieces := cut(found.text)) is not None]
        return bool(cuts) and all(pieces.exported for pieces in cuts)

    def _apart(self, above: str) -> str:
        """Return what keeps a line that ends in a backslash, as the last of `above` may, from taking in the next."""
        return self._newline() if _JOINED.search(above) else ""

    def _newline(self) -> str:
        """Return the line end that the file uses; where it mixes them, the one that most programs understand."""
        found = set(NEWLINE.findall(self._parsed.text))
        return next((end for end in ("\n", "\r\n", "\r") if end in found), "\n")


def _begins_loosely(text: str) -> bool:
    """Tell whether the first line of `text` would be read differently with a line above."""
    return text.startswith(MARK) or text.lstrip("\r\n")[:1].isspace()


def _line_ends(newline: str) -> tuple[str, ...]:
    return ("\r",) if newline == "\r" else ("\n",)


def held(value: str) -> Holding:
    """Return the holding of a variable that is `value`."""
    digest = digest_of(value)
    return Holding(version=hmac.digest(_SALT, digest.encode(), "sha256").hex()[:32], digest=digest)
