"""The text of a `.env` file, and how to change one binding of it and nothing else. Pure: no file is touched here.

A file may hold any number of secrets, so no object of this module shows its content, and no function that raises has
it in a local variable: a traceback printed with locals gives nothing away.
"""

import hmac
import io
import secrets
from functools import cached_property
from typing import Final

from dotenv import dotenv_values

from mushu.destination import Holding, Secret, digest_of
from mushu_dotenv.parsing import MARK, NEWLINE, Parsed, Statement, line_at, parsed
from mushu_dotenv.statement import cut, lead_of
from mushu_dotenv.undo import Added, Replaced, Undo

#: What is held where there is no file, or no such variable in it.
ABSENT: Final = Holding(version="absent", digest=None)
_EMPTY: Final = Holding(version="empty", digest=None)
# Versions are stored, and what stands in a file may be a weak password: a hash without a salt would be something to
# guess it by. Only the process that read a version compares it, so the salt need not outlive the process.
_SALT: Final = secrets.token_bytes(32)


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
        bindings = self._bindings(variable)
        if not bindings:
            unfinished = self._parsed.text not in ("", MARK) and not self._parsed.text.endswith(("\r", "\n"))
            glue = self._newline() if unfinished else ""
            added = f"{glue}{variable}={secret.reveal()}{self._newline()}"
            return Document(self.data + added.encode()), Added(glue)
        statement = bindings[-1]
        pieces = cut(statement.text)
        if pieces is None:  # pragma: no cover - a binding always has a name
            raise AssertionError
        filled = pieces.filled(secret.reveal())
        return self._with(statement, pieces.before + filled + pieces.after), Replaced(pieces.written, filled)

    def without(self, variable: str) -> "Document":
        """Return the document without the line of `variable`; blank lines before it stay."""
        statement = self._bindings(variable)[-1]
        return self._with(statement, lead_of(statement.text))

    def undone(self, variable: str, undo: Undo) -> "Document | None":
        """Return the document as it was before `undo`'s change, other changes kept; None if the line was reworked."""
        statement = self._bindings(variable)[-1]
        if isinstance(undo, Added):
            last = statement.offset + len(statement.text) == len(self._parsed.text)
            shorter = self.without(variable)
            return Document(shorter.data.removesuffix(undo.glue.encode())) if last else shorter
        before, found, after = statement.text.partition(undo.filled)
        return self._with(statement, before + undo.written + after) if found else None

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

    def _newline(self) -> str:
        """Return the line end that the file uses, the last one where it mixes them."""
        found = NEWLINE.findall(self._parsed.text)
        return str(found[-1]) if found else "\n"


def held(value: str) -> Holding:
    """Return the holding of a variable that is `value`."""
    digest = digest_of(value)
    return Holding(version=hmac.digest(_SALT, digest.encode(), "sha256").hex()[:32], digest=digest)
