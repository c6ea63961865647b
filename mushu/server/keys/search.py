"""Searching keys by a part of what a person knows of them: the name, the id, or the last four characters."""

from typing import Any, Final

from sqlalchemy import ColumnElement, String, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement

from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.errors import Invalid
from mushu.server.keys.models import ApiKey

_SMALL: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
#: Stands before the last four characters where a key is shown.
_LEFT_OUT: Final = "…"


class Folded(FunctionElement[str]):
    """A text with small letters for A to Z, which is ordered by code points on every database."""

    type = String()
    name = "folded"
    inherit_cache = True


@compiles(Folded)
def _on_sqlite(element: Folded, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(Folded, "postgresql")
def _on_postgresql(element: Folded, compiler: Any, **options: Any) -> str:
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


def holds(text: ColumnElement[str] | InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    """Return the condition that a text holds this part, in these very letters.

    Not LIKE, which tells capitals apart on one database and not on the other.
    """
    return func.replace(text, part, "") != text


def is_searched(text: str) -> ColumnElement[bool]:
    """Return the condition that the name, the id or the last four characters of a key hold this text.

    Raises:
        Invalid: it is a whole key.
    """
    if CREDENTIAL_PATTERN.search(text):
        raise Invalid(
            "That is a whole key, and an address keeps what is searched. Search its last four characters.",
            field="search",
        )
    part = text.rpartition(_LEFT_OUT)[2] or text
    small = part.translate(_SMALL)
    return or_(holds(Folded(ApiKey.name), small), holds(ApiKey.id, small), holds(ApiKey.last_four, part))
