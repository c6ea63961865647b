"""Time as the services see it: passed in, so that a test can turn it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from mushu.duration import duration_of, moment_of
from mushu.server.errors import Invalid

#: Answers the present moment, aware, in UTC.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return `moment` as `2026-01-15T10:30:00Z` (RFC 3339, whole seconds, UTC)."""
    return moment.astimezone(UTC).isoformat()[:19] + "Z"  # a third of the time that `strftime` takes


@lru_cache(maxsize=4096)
def read_moment(stored: str | datetime | None) -> datetime | None:
    """Return what a database has, as a text or as a moment of any zone; a page reads the same ones again and again."""
    if stored is None:
        return None
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_duration(text: str, field: str | None = None) -> timedelta:
    """Return the duration that `text` names, as `mushu.duration` reads it.

    Raises:
        Invalid: it names none.
    """
    try:
        return duration_of(text)
    except ValueError as error:
        raise Invalid(str(error), field=field) from None


def parse_moment(text: str, now: datetime, field: str | None = None) -> datetime:
    """Return the moment that `text` names, as `mushu.duration` reads it.

    Raises:
        Invalid: it names none.
    """
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise Invalid(str(error), field=field) from None
