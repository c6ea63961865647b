"""Time as the services see it: passed in, so that a test can turn it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from mushu.server.errors import Invalid

#: Answers the present moment, aware, in UTC.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return `moment` as `2026-01-15T10:30:00Z` (RFC 3339, whole seconds, UTC)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,10})([smhdw])")


def written_duration(duration: timedelta) -> str:
    """Return `duration` as `parse_duration` reads it, in the largest unit that is exact: `90d`, `36h`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def parse_duration(text: str, field: str | None = None) -> timedelta:
    """Return the duration that `text` names: a whole number and one of s, m, h, d, w, as in `90d`.

    Raises:
        Invalid: it names none, or one of 0 or beyond 100 years.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= 100 * 366 * 86_400:
        sentence = "A duration is a whole number with s, m, h, d or w, such as 90d, and at most 100 years."
        raise Invalid(sentence, field=field)
    return timedelta(seconds=seconds)
