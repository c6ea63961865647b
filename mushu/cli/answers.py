"""The server's answers, which are not trusted: JSON of bounded depth, secrets wrapped, each field checked."""

import json
import re
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any, Final

from mushu.cli.errors import misunderstood
from mushu.secret import Secret

Answer = dict[str, Any]

#: Fields that are wrapped while the JSON is parsed: no answer ever holds their plaintext.
_SECRET_FIELDS: Final = frozenset({"key", "access_token", "device_code"})
_DEEPEST: Final = 16
#: What is allowed in a path of the API, and in the comment beside a delivered key.
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def parsed(raw: bytes) -> Answer | None:
    """Return the JSON object that `raw` is, or None if it is none, or one that no server of ours answers."""
    try:
        document = json.loads(raw, object_pairs_hook=_wrapped)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of ten thousand digits, ten thousand brackets
        return None
    return document if isinstance(document, dict) and is_flat(document) else None


def text_of(answer: Answer, name: str) -> str:
    """Return a field that must be text.

    Raises:
        WrongAnswer: it is not.
    """
    value = answer.get(name)
    if not isinstance(value, str):
        raise misunderstood(f"{name} is missing or no text")
    return value


def id_of(answer: Answer, name: str) -> str:
    """Return a field that must be a public id.

    Raises:
        WrongAnswer: it is none.
    """
    value = text_of(answer, name)
    if IDENTIFIER.fullmatch(value) is None:
        raise misunderstood(f"{name} is no id")
    return value


def number_of(answer: Answer, name: str, default: int) -> int:
    """Return a field that is a whole number, or the default where it is left out.

    Raises:
        WrongAnswer: it is something else.
    """
    value = answer.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise misunderstood(f"{name} is no number")
    return value


def rows_of(answer: Answer, name: str) -> list[Answer]:
    """Return a field that must be a list of objects.

    Raises:
        WrongAnswer: it is not.
    """
    value = answer.get(name)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise misunderstood(f"{name} is missing or no list")
    return value


def newest_first(lists: Iterable[Iterable[Answer]], field: str) -> Iterator[Answer]:
    """Return the lists of both environments, each newest first, as one; `field` is the name of their ids."""
    return merge(*lists, key=lambda row: (str(row.get("created_at")), str(row.get(field))), reverse=True)


def without_secrets(answer: Answer) -> Answer:
    """Return the answer without the fields that were wrapped."""
    return {name: value for name, value in answer.items() if not isinstance(value, Secret)}


def _wrapped(pairs: list[tuple[str, Any]]) -> Answer:
    return {
        name: Secret(value) if name in _SECRET_FIELDS and isinstance(value, str) else value for name, value in pairs
    }


def is_flat(value: object, depth: int = _DEEPEST) -> bool:
    """Tell whether a document is no deeper than any of ours: what is, could be read and not be written again."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(is_flat(item, depth - 1) for item in inner)
