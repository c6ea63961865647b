"""Values as the real server reads and writes them."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


class Unreadable(ValueError):
    """A field does not hold what its type wants."""


def now() -> int:
    """Return the nanoseconds since 1970."""
    return time.time_ns()


def written(moment: int | None) -> str:
    """Write nanoseconds as RFC 3339, without the zeros at the end; nothing for no time."""
    if moment is None:
        return ""
    whole, rest = divmod(moment, 10**9)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def whole(value: Any) -> int:
    """Raises: Unreadable."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise Unreadable("'' cannot parse value as 'int': strconv.ParseInt: invalid syntax")


def wholes(value: Any) -> list[int]:
    return [whole(part) for part in value or []]


def mapping(value: Any) -> dict[str, Any] | None:
    """Raises: Unreadable."""
    if value is None or isinstance(value, dict):
        return value
    raise Unreadable("'' expected type 'map[string]interface {}'")


def text(value: Any) -> str:
    """Raises: Unreadable."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise Unreadable("'' expected type 'string'")


def as_read(value: Any) -> Any:
    """Return a value as it comes back from version 2: every number has passed through a float."""
    if isinstance(value, dict):
        return {name: as_read(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_read(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool):
        near = float(value)
        return int(Decimal(repr(near))) if abs(near) < 10**21 else near
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**21:
        return int(value)
    return value
