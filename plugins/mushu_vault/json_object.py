"""JSON whose content stays out of sight: bodies of requests and replies, secrets with their neighbours, single values.

Numbers are kept as they were written, because what is read may be written again, and a neighbour must not be rounded.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from mushu.destination import digest_of

# Deeper than any secret, and well within what the interpreter can follow; what is deeper counts as not understood.
_DEEPEST: Final = 100


class _Number(str):
    """A number in the digits that it came in."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class FieldValue:
    """What one field holds; None where there is nothing, or null."""

    content: object

    @property
    def digest(self) -> str | None:
        """SHA-256 of a text, or of the JSON of anything else; None where there is no value or an empty one."""
        if self.content is None or self.content == "":
            return None
        return digest_of(str(self.content) if self.is_text else _written(self.content))

    @property
    def is_text(self) -> bool:
        """Whether it is a string, as keys are."""
        return isinstance(self.content, str) and not isinstance(self.content, _Number)

    @property
    def is_absent(self) -> bool:
        """Whether there is no field, or null in it; an empty text is something that was put there."""
        return self.content is None

    def keyed_digest(self, key: bytes) -> str:
        """Return an HMAC-SHA-256 of its JSON: what nobody without `key` can guess the value by."""
        return hmac.new(key, _written(self.content).encode(), hashlib.sha256).hexdigest()


ABSENT: Final = FieldValue(None)


class JsonObject:
    """A JSON object."""

    __slots__ = ("_content",)

    def __init__(self, content: Mapping[str, object]) -> None:
        self._content = content

    @property
    def content(self) -> Mapping[str, object]:
        """The fields, for hvac."""
        return self._content

    @classmethod
    def parsed(cls, data: bytes) -> Self | None:
        """Return the object that `data` is, or None if it is none."""
        try:
            content = _read(data)
        except (ValueError, RecursionError):
            return None
        return cls(content) if isinstance(content, dict) else None

    def child(self, *names: str) -> "JsonObject | None":
        """Return the object below `names`, or None if there is none."""
        found = self._at(names)
        return JsonObject(found) if isinstance(found, dict) else None

    def number(self, *names: str) -> int | None:
        """Return the whole number, zero or more, below `names`, or None if there is none."""
        found = self._at(names)
        return int(found) if isinstance(found, _Number) and found.isdecimal() and len(found) < 16 else None

    def text(self, *names: str) -> str | None:
        """Return the text below `names`, or None if there is none."""
        found = self._at(names)
        return found if isinstance(found, str) and not isinstance(found, _Number) else None

    def texts(self, *names: str) -> list[str] | None:
        """Return the list of texts below `names`, or None if there is none."""
        found = self._at(names)
        return [str(item) for item in found] if isinstance(found, list) else None

    def value(self, name: str) -> FieldValue:
        """Return what the field `name` holds."""
        return FieldValue(self._content.get(name))

    def having(self, name: str, value: FieldValue) -> "JsonObject":
        """Return this object with `value` in the field `name`, or without the field where the value is absent."""
        others = {other: content for other, content in self._content.items() if other != name}
        return JsonObject(others if value.is_absent else {**others, name: value.content})

    @property
    def is_empty(self) -> bool:
        """Whether there is no field."""
        return not self._content

    def beside(self, name: str, content: object) -> "JsonObject":
        """Return this object with something that is no secret in the field `name`."""
        return JsonObject({**self._content, name: content})

    def within(self, name: str) -> "JsonObject":
        """Return an object that has this one in its field `name`."""
        return JsonObject({name: self._content})

    def encoded(self) -> bytes:
        """Return the JSON: ASCII, so that no server can take it for another encoding."""
        return _written(self._content).encode("ascii")

    def _at(self, names: tuple[str, ...]) -> object:
        found: object = self._content
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _read(data: bytes) -> object:
    """Return what `data` means; raises ValueError or RecursionError."""
    # The last argument has NaN and Infinity refused, which are no JSON.
    content = json.loads(
        data.decode(), object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=int
    )
    _refuse_deep(content, _DEEPEST)
    return content


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of these fields; raises ValueError where one stands twice: of the two, one would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse_deep(content: object, left: int) -> None:
    if left == 0:
        raise ValueError
    for item in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _refuse_deep(item, left - 1)


def _written(content: object) -> str:
    if isinstance(content, _Number):
        return str(content)
    if isinstance(content, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(content[name])}" for name in sorted(content)) + "}"
    if isinstance(content, list):
        return "[" + ",".join(map(_written, content)) + "]"
    return json.dumps(content)
