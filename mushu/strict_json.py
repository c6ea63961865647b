"""JSON from strangers, read in the one way in which every program reads it; standard library only.

What RFC 8259 leaves open and RFC 7493 (I-JSON) closes is refused: a name that stands twice in one object, half of a
surrogate pair, numbers beyond what a machine holds. So is NaN, which is no JSON. Depth and number of values are
bounded, so that neither reading nor what is done with the result can be made to take long.
"""

import codecs
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

#: Digits and a sign: no number of 64 bits is longer.
_LONGEST_INTEGER: Final = 20
_BITS: Final = 63

Pairs = Sequence[tuple[str, Any]]


class NotStrictJson(ValueError):
    """The text is not taken; the message is why, as a sentence that does not repeat the text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one document may hold."""

    #: Objects and lists within each other.
    depth: int = 32
    #: Names, texts, numbers, objects and lists, all together.
    values: int = 10_000


def read(data: bytes, limits: Limits, made: Callable[[Pairs], object] = dict) -> object:
    """Return what the bytes mean.

    Args:
        made: makes an object of its fields, whose names differ.

    Raises:
        NotStrictJson: they mean nothing, or not the same to every reader, or are too much.
    """
    reason = None
    try:
        content = _parsed(data)
        if not _is_plain(data, limits):
            _examine(content, limits)
    except NotStrictJson as error:
        reason = str(error)
    except UnicodeDecodeError:
        reason = "It is not UTF-8."
    except json.JSONDecodeError as error:
        reason = f"It is not JSON, from line {error.lineno}, column {error.colno} on."
    except RecursionError:
        reason = _too_deep(limits)
    if reason is not None:  # raised here: the errors above hold what was sent
        raise NotStrictJson(reason)
    return content if made is dict else _made(content, made)


def _parsed(data: bytes) -> object:
    return _DECODER.decode(data.removeprefix(codecs.BOM_UTF8).decode())


def _is_plain(data: bytes, limits: Limits) -> bool:
    """Tell whether it cannot hold what `_examine` refuses: it is short, has few brackets, and escapes nothing.

    A value or a name takes a byte at least, and UTF-8 holds no half of a surrogate pair.
    """
    return len(data) <= limits.values and b"\\" not in data and data.count(b"{") + data.count(b"[") <= limits.depth


def _object(pairs: Pairs) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("A field stands twice in one object.")
    return found


def _integer(digits: str) -> int:
    if len(digits) <= _LONGEST_INTEGER and -(1 << _BITS) <= (number := int(digits)) < 1 << _BITS:
        return number
    raise NotStrictJson("A number is larger than 64 bits hold.")


def _float(digits: str) -> float:
    if math.isfinite(number := float(digits)):
        return number
    raise NotStrictJson("A number is larger than 64 bits hold.")


def _constant(name: str) -> NoReturn:
    raise NotStrictJson(f"{name} is not JSON.")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _too_deep(limits: Limits) -> str:
    return f"It is nested deeper than {limits.depth} levels."


def _examine(content: object, limits: Limits) -> None:
    """Look at every value once, without recursion."""
    waiting, seen = [(content, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        inner: list[object] = []
        if isinstance(value, str):
            _refuse_half_pairs(value)
        elif isinstance(value, dict):
            inner = [*value, *value.values()]
        elif isinstance(value, list):
            inner = value
        if isinstance(value, dict | list) and depth > limits.depth:
            raise NotStrictJson(_too_deep(limits))
        if seen + len(waiting) + len(inner) > limits.values:
            raise NotStrictJson(f"It holds more than {limits.values} values.")
        waiting += [(item, depth + 1) for item in inner]


def _refuse_half_pairs(text: str) -> None:
    """Refuse what no UTF-8 can hold: a database, a log or an answer would fail on it much later."""
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return
    raise NotStrictJson("A text holds half of a surrogate pair.")


def _made(content: object, made: Callable[[Pairs], object]) -> object:
    if isinstance(content, dict):
        return made([(name, _made(value, made)) for name, value in content.items()])
    return [_made(item, made) for item in content] if isinstance(content, list) else content
