"""Values as the real server reads and writes them: it takes "3" for 3, and writes times to the nanosecond."""

import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_UNITS |= {"d": 86400 * 10**9}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d))")
_TRUTHS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False, "": False}


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
    if value is None or value == "":
        return 0
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]+|\d+)", value):
        return int(value, 0) if "x" in value.lower() else int(value)
    if isinstance(value, str | float):
        raise Unreadable("'' cannot parse value as 'int': strconv.ParseInt: invalid syntax")
    raise Unreadable(f"'' expected type 'int', got unconvertible type '{_kind(value)}'")


def wholes(value: Any) -> list[int]:
    """Read a list of whole numbers, or one, or a text with commas."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    return [whole(part) for part in (value if isinstance(value, list) else [value] if value is not None else [])]


def truth(value: Any) -> bool:
    """Raises: Unreadable."""
    if value is None or isinstance(value, bool | int | float):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUTHS:
        return _TRUTHS[value.lower()]
    if isinstance(value, str):
        raise Unreadable("'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax")
    raise Unreadable(f"'' expected type 'bool', got unconvertible type '{_kind(value)}'")


def mapping(value: Any) -> dict[str, Any] | None:
    """Raises: Unreadable."""
    if value is None or isinstance(value, dict):
        return value
    where = ""
    if isinstance(value, list):
        strays = [number for number, inner in enumerate(value) if not isinstance(inner, dict)]
        if not strays:  # a list of maps counts as all of them together
            return {name: inner for part in value for name, inner in part.items()}
        where, value = f"[{strays[0]}]", value[strays[0]]
    raise Unreadable(f"'{where}' expected type 'map[string]interface {{}}', got unconvertible type '{_kind(value)}'")


def text(value: Any) -> str:
    """Take a scalar for a text, as the real one does. Raises: Unreadable."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    raise Unreadable(f"'' expected type 'string', got unconvertible type '{_kind(value)}'")


def _kind(value: Any) -> str:
    kinds = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool"}
    return kinds.get(type(value), "json.Number")


def seconds(value: Any) -> int:
    """Read a duration: a number, or a text such as "90", "1h30m". Raises: Unreadable."""
    if isinstance(value, str) and value and not re.fullmatch(r"-?\d+", value):
        sign, rest = (-1, value[1:]) if value[0] == "-" else (1, value)
        if not re.fullmatch(f"({_DURATION.pattern})+", rest):
            raise Unreadable(f'time: invalid duration "{value}"')
        return sign * int(sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION.findall(rest)) // 10**9)
    return whole(value)


def not_negative(value: Any) -> int:
    """Read a duration that is none into the past. Raises: Unreadable."""
    count = seconds(value)
    if count < 0:
        raise Unreadable(f"cannot provide negative value '{count}'")
    return count


def duration(count: int) -> str:
    """Write seconds as Go writes a duration: 1h0m0s."""
    sign, count = ("-", -count) if count < 0 else ("", count)
    minutes, rest = divmod(count, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{rest}s"
    return f"{sign}{minutes}m{rest}s" if minutes else f"{sign}{rest}s"


def mended(value: Any) -> Any:
    """Return a value without halves of characters, which JSON can hold and UTF-8 cannot."""
    if isinstance(value, dict):
        return {mended(name): mended(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [mended(inner) for inner in value]
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


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
