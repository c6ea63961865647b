"""How limits are written, and what is told of them."""

from dataclasses import replace

import pytest

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError, Invalid, LimiterUnavailable, RateLimited
from mushu.server.limit_stores import SqliteWindows, look_at_store, open_store
from mushu.server.limiter import Limiter
from mushu.server.rate_limits import parse_limits, stored, windows_of, written
from tests.server.test_limit_stores import NOW, path, store

__all__ = ["path", "store"]


def test_limits_are_kept_from_the_shortest_unit_on() -> None:
    limits = parse_limits(["50000/total", "10/second", "1000/day", "60/minute", "900/hour"])
    assert stored(limits) == "10/second;60/minute;900/hour;1000/day;50000/total"
    assert written(stored(limits)) == [*map(str, limits)]
    assert (stored(()), written(None), windows_of("key_a", None)) == (None, None, ())
    assert stored(parse_limits(["1000000000/total"])) == "1000000000/total"


@pytest.mark.parametrize(
    "text",
    [
        "", "0/second", "00/second", "01/second", "-1/second", "+1/second", "1.5/second", "1e3/second", " 1/second",
        "1/second ", "1/second\n", "1 / second", "1/seconds", "1/week", "1/SECOND", "1/", "/second", "1",
        "1/second;2/day", "١/second", "1000000001/total", "9" * 30 + "/total", "1/total/total", "NaN/day", "0x1/day",
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused_with_how_one_is_written(text: str) -> None:
    with pytest.raises(Invalid, match="100/minute") as refusal:
        parse_limits([text])
    assert refusal.value.field == "limits"


def test_two_limits_for_one_unit_are_refused() -> None:
    with pytest.raises(Invalid, match="two limits for one minute"):
        parse_limits(["1/minute", "2/minute"])


def test_a_refusal_says_which_limit_and_for_how_long(store: SqliteWindows) -> None:
    limiter = Limiter(store)
    windows = windows_of("key_a", "1/second;3/minute;3/total") + windows_of("org_a", "9/day", "org-")
    policies, left = dict(limiter.take(windows, NOW)).values()
    assert policies == '"second";q=1;w=1, "minute";q=3;w=60, "total";q=3, "org-day";q=9;w=86400'
    assert left == '"second";r=0;t=1, "minute";r=2;t=60, "total";r=2, "org-day";r=8;t=86400'
    for moment, said, seconds in (
        (0.2, "This key has made its 1 request of this second. Try again in 1 second.", 1),
        (1, None, None),
        (2, None, None),
        (3, "This key has used its budget of 3 requests in all.", None),
    ):
        if said is None:
            limiter.take(windows, NOW + moment)
            continue
        with pytest.raises(RateLimited) as refusal:
            limiter.take(windows, NOW + moment)
        assert (refusal.value.detail, refusal.value.retry_after) == (said, seconds)
    for prefix, whose in (("org-", "Its organization"), ("policy-", "The policy")):
        limiter.take(windows_of(prefix, "1/hour", prefix), NOW)
        with pytest.raises(RateLimited, match=f"{whose} has made its 1 request of this hour") as refusal:
            limiter.take(windows_of(prefix, "1/hour", prefix), NOW + 10)
        assert refusal.value.retry_after == 3_590


def test_a_store_that_fails_decides_nothing(store: SqliteWindows, settings: Settings) -> None:
    limiter = Limiter(open_store(settings))
    with pytest.raises(LimiterUnavailable, match="flask doctor"):
        limiter.take(windows_of("key_a", "1/total"), NOW)
    assert look_at_store(settings, in_use=False)[0]
    found, told = look_at_store(settings, in_use=True)
    assert (found, "put " in told, "mushu-limits.sqlite3" in told) == (False, True, True)
    open_store(settings).make()
    alone = replace(settings, database_url="sqlite:////srv/mushu.sqlite3")
    assert look_at_store(alone, in_use=True) == (True, f"counted in {settings.limits_path}")
    good, told = look_at_store(replace(settings, database_url="postgresql://mushu@db/mushu"), in_use=True)
    assert (good, "for this machine alone" in told) == (True, True)


def test_a_redis_that_is_away_or_cannot_be_used_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Settings(instance_path=settings.instance_path, limits_url="redis://:geheim@127.0.0.1:1/0")
    assert away.faults() == []
    for limits_url in ("redis", "memory://", "redis+unix:x", "http://h", "redis://h:99999"):
        faults = Settings(instance_path=settings.instance_path, limits_url=limits_url).faults()
        assert ["MUSHU_LIMITS_URL must look like redis://" in fault for fault in faults] == [True]
    monkeypatch.setitem(__import__("sys").modules, "limits.errors", None)
    with pytest.raises(ConfigurationError, match="pip install"):
        open_store(away)
    assert look_at_store(away, in_use=True)[0] is False
