from datetime import UTC, datetime, timedelta, timezone

import pytest

from mushu.server.clock import parse_duration, rfc3339, utc_now
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
