from datetime import UTC, datetime, timedelta, timezone

import pytest

from mushu.server.clock import parse_duration, rfc3339, utc_now, written_duration
from mushu.server.errors import Invalid


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_moments_are_written_as_the_contract_shows_them() -> None:
    assert rfc3339(datetime(2026, 1, 15, 10, 30, tzinfo=UTC)) == "2026-01-15T10:30:00Z"
    assert rfc3339(datetime(2026, 1, 15, 12, 30, 0, 999, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-15T10:30:00Z"


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90d", timedelta(days=90)),
        (" 12h ", timedelta(hours=12)),
        ("1s", timedelta(seconds=1)),
        ("5m", timedelta(minutes=5)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations_are_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "90 d", "1y", "9999999999d", "٣d", "1d1h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Invalid, match="90d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=90), "90d"),
        (timedelta(weeks=2), "14d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "61s"),
        (timedelta(seconds=1), "1s"),
        (timedelta(days=100 * 366), "36600d"),
    ],
)
def test_a_duration_is_written_in_the_largest_exact_unit_and_read_back_as_it_was(
    duration: timedelta, text: str
) -> None:
    assert written_duration(duration) == text
    assert parse_duration(text) == duration
