from datetime import UTC, datetime, timedelta, timezone

from mushu.server.clock import rfc3339, utc_now


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_moments_are_written_as_the_contract_shows_them() -> None:
    assert rfc3339(datetime(2026, 1, 15, 10, 30, tzinfo=UTC)) == "2026-01-15T10:30:00Z"
    assert rfc3339(datetime(2026, 1, 15, 12, 30, 0, 999, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-15T10:30:00Z"
