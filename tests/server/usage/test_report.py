"""What is unusual about the usage of a key, in plain words; and what is not."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.usage.models import HOUR, KeyUse, UsageDenial, UsagePeriod, UsageSource
from mushu.server.usage.report import Known, _report, unusual

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def ago(days: float = 0, hours: float = 0) -> datetime:
    return NOW - timedelta(days=days, hours=hours)


def period(days: float, requests: int, denials: int = 0) -> UsagePeriod:
    at = ago(days)
    start = at.replace(minute=0)
    return UsagePeriod(
        key_id="k", seconds=HOUR, start=start, requests=requests, denials=denials, last_used_at=at if requests else None
    )


def source(text: str, first: float) -> UsageSource:
    return UsageSource(key_id="k", source=text, first_seen_at=ago(first), last_seen_at=NOW)


def told(
    *periods: UsagePeriod,
    state: State = State.ACTIVE,
    sources: Sequence[UsageSource] = (),
    denials: Sequence[UsageDenial] = (),
    handed_over: float | None = None,
    first_used: float = 60,
    last_used: float = 0,
) -> str:
    use = KeyUse(key_id="k", first_used_at=ago(first_used), last_used_at=ago(last_used), last_used_from="192.0.2.7")
    key = ApiKey(id="k", stored_state=state)
    handed_over_at = ago(handed_over) if handed_over is not None else None
    return " ".join(unusual(Known(key, handed_over_at, use, periods, sources, denials), NOW))


def denial(reason: str, days: float = 1) -> UsageDenial:
    return UsageDenial(
        key_id="k", reason=reason, denials=1_041, last_denied_at=ago(days), last_denied_from="198.51.100.7"
    )


def test_a_steady_key_is_not_unusual() -> None:
    networks = [source("192.0.2.0/24", 30), source("192.0.2.7", 0)]
    assert told(*(period(days, 500, 40) for days in range(29, -1, -1)), sources=networks) == ""
    assert told(first_used=0) == ""


@pytest.mark.parametrize(
    ("first", "is_told"), [(30, False), (29.5, False), (8, False), (6, True)], ids=["old", "same day", "no news", "new"]
)
def test_the_first_use_from_a_new_network_is_told(first: float, is_told: bool) -> None:
    said = told(sources=[source("192.0.2.0/24", 30), source("198.51.100.0/24", first)])
    assert ("It was first used from the network 198.51.100.0/24 at" in said) is is_told


def test_ten_times_the_usual_rate_is_told() -> None:
    usual = [period(days, 20) for days in range(27, 1, -1)]
    assert "It made 210 requests in the last 24 hours. Usually it makes 19.3 in a day" in told(*usual, period(0.5, 210))
    assert told(*usual, period(0.5, 190)) == ""
    assert told(*(period(days, 1) for days in range(27, 1, -1)), period(0.5, 99)) == "", "99 are not many"
    assert told(period(1.5, 1), period(0.5, 1_000), first_used=2) == "", "two days say nothing of what is usual"


@pytest.mark.fault
def test_many_requests_after_weeks_without_any_are_told() -> None:
    said = told(period(45, 3), period(0.5, 5_000))
    assert said == "It made 5,000 requests in the last 24 hours. In the 27 days before, it made none."


def test_a_use_after_quiet_days_is_told() -> None:
    assert told(period(95, 1), period(1, 1)) == "It was used at 2026-02-28T10:00:00Z after 93 quiet days."
    assert told(period(80, 1), period(1, 1)) == ""
    assert told(period(120, 1), period(10, 1)) == "", "that is no news"


def test_a_key_that_is_still_tried_after_its_end_is_told() -> None:
    retiring = told(state=State.RETIRING, handed_over=3)
    assert "It is retiring, and was used at 2026-03-01T10:30:00Z from 192.0.2.7." in retiring
    assert told(state=State.RETIRING, handed_over=3, last_used=4) == ""
    deleted = told(state=State.REVOKED, denials=[denial("missing_scope"), denial("deleted_credential")])
    assert deleted == (
        "It is revoked, and is still tried: 1,041 times, last at 2026-02-28T10:30:00Z from 198.51.100.7. Have its user "
        "load another key."
    )
    assert told(state=State.REVOKED, denials=[denial("deleted_credential", days=8)]) == ""


def test_many_denials_are_told() -> None:
    said = told(period(0.5, 150, 120), denials=[denial("missing_scope"), denial("org_not_found")], first_used=1)
    assert said == "120 requests were refused to it in the last 24 hours: missing_scope, org_not_found."
    assert told(period(0.5, 99, 99)) == ""
    assert told(period(0.5, 99, 1), period(0.4, 200, 100), first_used=1) == "", "fewer than half"


def test_the_last_months_are_this_one_and_the_eleven_before_it() -> None:
    key = ApiKey(id="k", stored_state=State.ACTIVE)
    months = _report(Known(key, None, None, [period(0, 3), period(40, 2, 1), period(500, 9)], [], []), NOW).months
    assert [bar.start.month for bar in months] == [*range(NOW.month + 1, 13), *range(1, NOW.month + 1)]
    assert [bar.start.day for bar in months] == [1] * 12
    assert (months[-1].requests, sum(bar.requests for bar in months), sum(bar.denials for bar in months)) == (3, 5, 1)
