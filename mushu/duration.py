"""How long something lasts, as people write it: `30s`, `1h`, `90d`. One grammar for the server and for `mushu`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,10})([smhdw])")
_LONGEST: Final = 100 * 366 * 86_400


def duration_of(text: str) -> timedelta:
    """Return the duration that `text` names: a whole number and one of s, m, h, d, w.

    Raises:
        ValueError: it names none, or one of 0 or beyond 100 years; the sentence says what one looks like.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise ValueError("A duration is a whole number with s, m, h, d or w, such as 90d, and at most 100 years.")
    return timedelta(seconds=seconds)


def written_duration(duration: timedelta) -> str:
    """Return `duration` as `duration_of` reads it, in the largest unit that is exact: `90d`, `36h`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that `text` names, in RFC 3339 with its zone, or as a duration: so long before `now`.

    Raises:
        ValueError: it names none; the message says what one looks like.
    """
    try:
        if "T" not in text.upper():
            return now - duration_of(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("A moment is written as 2026-01-15T10:30:00Z, or as 7d: so long ago.")
