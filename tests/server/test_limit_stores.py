"""Windows of one machine are exact over its processes, outlive them, and fail where their file does."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mushu.server.limit_stores import SqliteWindows
from mushu.server.limiter import Standing
from mushu.server.rate_limits import LimitWindow, windows_of
from mushu.testing.processes import fork, wait_for
from tests.long import times

NOW = 1_800_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mushu-limits.sqlite3"


@pytest.fixture
def store(path: Path) -> SqliteWindows:
    made = SqliteWindows(path)
    made.make()
    return made


def take(store: SqliteWindows, limits: str, now: float = NOW, subject: str = "key_a") -> tuple[bool, list[int]]:
    """Return whether a request passes, and what is left."""
    passes, standings = store.take([windows_of(subject, limits)], now)[0]
    return passes, [standing.remaining for standing in standings]


def resets(store: SqliteWindows, limits: str, now: float) -> float | None:
    return store.take([windows_of("key_a", limits)], now)[0][1][0].resets_in


def test_four_processes_let_exactly_so_many_pass(path: Path, store: SqliteWindows, tmp_path: Path) -> None:
    most, each = times(200, 5_000), times(120, 3_000)
    windows = windows_of("key_a", f"{most + 50}/day;{most}/total") + windows_of("org_a", f"{most + 9}/total", "org-")

    def ask(number: int) -> int:
        mine = SqliteWindows(path)
        passed = sum(mine.take([windows], NOW)[0][0] for _ in range(each))
        (tmp_path / f"passed-{number}").write_text(str(passed))
        return 0

    workers = [fork(lambda number=number: ask(number)) for number in range(4)]  # type: ignore[misc]
    assert [wait_for(worker) for worker in workers] == [0] * 4
    assert sum(int((tmp_path / f"passed-{number}").read_text()) for number in range(4)) == most
    # What the budget refused was not counted elsewhere.
    _, standings = store.take([windows], NOW)[0]
    assert [standing.remaining for standing in standings] == [50, 0, 9]


def test_a_window_begins_with_its_first_request_and_ends(store: SqliteWindows) -> None:
    assert take(store, "2/minute") == (True, [1])
    assert take(store, "2/minute", NOW + 59.5) == (True, [0])
    assert take(store, "2/minute", NOW + 59.9) == (False, [0])
    assert resets(store, "2/minute", NOW + 59.5) == 0.5
    assert take(store, "2/minute", NOW + 60) == (True, [1])


def test_what_one_window_refuses_is_counted_in_none(store: SqliteWindows) -> None:
    assert take(store, "1/second;10/day") == (True, [0, 9])
    assert take(store, "1/second;10/day") == (False, [0, 9])
    assert take(store, "1/second;10/day", NOW + 1) == (True, [0, 8])


def test_a_budget_survives_a_restart_and_another_amount(path: Path, store: SqliteWindows) -> None:
    assert [take(store, "2/total")[0] for _ in range(3)] == [True, True, False]
    again = SqliteWindows(path)
    again.make()
    assert take(again, "2/total", NOW + 1e9) == (False, [0])
    assert take(again, "3/total", NOW + 1e9) == (True, [0])
    assert take(again, "1/total", NOW + 1e9) == (False, [0])


def test_a_clock_that_goes_back_neither_renews_a_window_nor_makes_it_longer(store: SqliteWindows) -> None:
    take(store, "2/minute")
    assert take(store, "2/minute", NOW - 86_400) == (True, [0])
    assert take(store, "2/minute", NOW - 86_400) == (False, [0])
    assert resets(store, "2/minute", NOW - 86_400) == 60
    assert take(store, "2/minute", NOW - 86_400 + 61) == (True, [1])


def test_windows_that_have_ended_are_forgotten(path: Path, store: SqliteWindows) -> None:
    for number in range(3):
        take(store, "5/minute;5/day;5/total", NOW, f"key_{number}")
    assert store.sweep(NOW + 60) == 3
    assert store.sweep(NOW + 60) == 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM windows").fetchone() == (6,)


def test_a_file_that_is_taken_away_fails_and_is_never_made_by_a_request(path: Path, store: SqliteWindows) -> None:
    take(store, "2/total")
    away = path.rename(path.with_suffix(".away"))
    with pytest.raises(FileNotFoundError):
        take(store, "2/total")
    with pytest.raises(FileNotFoundError):
        store.check()
    assert not path.exists()
    away.rename(path)
    assert take(store, "2/total") == (True, [0])
    path.unlink()
    SqliteWindows(path).make()
    assert take(store, "2/total") == (True, [1])


def test_a_file_that_is_damaged_or_held_fails(
    path: Path, store: SqliteWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mushu.server.limit_stores._BUSY", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            take(store, "2/total")
    assert take(store, "2/total") == (True, [1])
    other = path.with_suffix(".other")
    other.write_bytes(b"no database" * 1_000)
    other.replace(path)
    for ask in (lambda: take(store, "2/total"), store.check, lambda: store.sweep(NOW), SqliteWindows(path).make):
        with pytest.raises(sqlite3.DatabaseError):
            ask()


def test_threads_do_not_wait_for_a_held_file_one_after_another(
    store: SqliteWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mushu.server.limit_stores._BUSY", 0.01)
    with store._lock, pytest.raises(TimeoutError):
        take(store, "2/total")
    assert take(store, "2/total") == (True, [1])


def test_a_connection_of_a_parent_is_left_to_it(store: SqliteWindows) -> None:
    assert take(store, "3/total") == (True, [2])
    assert wait_for(fork(lambda: int(take(store, "3/total") != (True, [1])))) == 0
    assert take(store, "3/total") == (True, [0])


def test_what_is_left_says_nothing_of_others(store: SqliteWindows) -> None:
    take(store, "1/total", subject="key_a")
    assert take(store, "1/total", subject="key_b") == (True, [0])
    found: Sequence[Standing] = store.take([[LimitWindow("key_c/total", "total", 10**9, None)]], NOW)[0][1]
    assert [(standing.remaining, standing.resets_in) for standing in found] == [(10**9 - 1, None)]
