"""Many things a few at a time."""

import pytest

from mushu.batching import batches, unhurried


def test_batches_hold_all_in_order_and_none_is_too_long() -> None:
    assert [*batches(range(7), size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [*batches(range(5), first=1, size=3)] == [[0], [1, 2, 3], [4]]


def test_a_thread_rests_after_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int | str] = []
    monkeypatch.setattr("mushu.batching.time.sleep", lambda seconds: done.append("rest" if seconds > 0 else "none"))
    done.extend(unhurried(range(5), 2))
    assert done == [0, 1, "rest", 2, 3, "rest", 4]
