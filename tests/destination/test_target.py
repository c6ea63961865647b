"""A target on the way of one key, whoever delivers: what is asked of it, and what it holds in the end."""

import pytest

from mushu.destination import DestinationError
from mushu.destination.target import NotHeldError, PutBackResult, Target
from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from tests.server.delivery.shelf import Fault, Shelf, answer_no, fail, lie, lose_answer, refuse

URI = "fake:a"
KEY = generate(Prefix.LIVE_KEY)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def target(shelf: Shelf) -> Target:
    return Target.open(shelf.open, "fake:a/", pause=lambda seconds: None)


def write(target: Target, secret: Secret = KEY) -> None:
    target.check()
    target.write(secret, "att_1", "key_1")


def test_it_works(shelf: Shelf, target: Target) -> None:
    assert target.uri == URI
    write(target)
    assert target.read_back(KEY).digest == KEY.digest() == shelf.digest_at(URI)
    assert target.put_back(KEY) is PutBackResult.AS_BEFORE
    assert shelf.values == {}


def test_a_write_whose_answers_were_all_lost_is_found_by_reading(shelf: Shelf, target: Target) -> None:
    shelf.plan(f"write {URI}", lose_answer, fail, fail)
    write(target)
    assert (target.unclear, target.receipt is not None) == (True, True)


def test_an_attempt_whose_time_is_over_writes_nothing(shelf: Shelf, target: Target) -> None:
    target.check()
    with pytest.raises(DestinationError, match="time for this attempt was over") as caught:
        target.write(KEY, "att_1", "key_1", in_time=lambda: False)
    assert caught.value.permanent
    assert (shelf.did("write"), target.sent) == ([], False)
    assert target.put_back(KEY) is PutBackResult.AS_BEFORE


def test_what_was_not_stored_is_no_delivery(shelf: Shelf, target: Target) -> None:
    shelf.plan(f"write {URI}", lie)
    write(target)
    with pytest.raises(NotHeldError, match="does not hold the key"):
        target.read_back(KEY)


@pytest.mark.parametrize(
    ("former", "restore", "remove", "left"),
    [
        (None, refuse, None, PutBackResult.AS_BEFORE),
        ("theirs", refuse, None, PutBackResult.EMPTIED),
        ("theirs", answer_no, refuse, PutBackResult.NOT_TAKEN_BACK),
        ("theirs", None, None, PutBackResult.AS_BEFORE),
    ],
)
def test_what_cannot_be_restored_is_at_least_taken_away(
    shelf: Shelf, target: Target, former: str | None, restore: Fault | None, remove: Fault | None, left: PutBackResult
) -> None:
    if former is not None:
        shelf.put("write", URI, former)
    write(target)
    if restore is not None:
        shelf.plan(f"restore {URI}", restore)
    if remove is not None:
        shelf.plan(f"remove {URI}", remove)
    assert target.put_back(KEY) is left
    assert target.unclear is (restore is not None)
