"""Two locations of one URI are two places: to claims, to live and test, and to what a place holds."""

from typing import Any

import pytest

from mushu.destination import DestinationError, Location
from mushu.destination.safe import LONGEST_LOCATION, SafeDestination
from mushu.environment import Environment
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.errors import DeliveryFailed, DestinationHeld
from mushu.server.keys.minting import KeyRequest
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import Crash, FakeDestination, Shelf, crash, fail
from tests.server.verbs import issue_to

pytestmark = pytest.mark.database

URI = "fake:a"


def deliver_test_key(post: Post) -> None:
    issue_to(post.context(), KeyRequest(org_id=post.org_id, name="t", environment=Environment.TEST), [URI])


def test_an_attempt_holds_its_own_location_and_no_other(post: Post, shelf: Shelf) -> None:
    shelf.location = "machine a"
    shelf.plan(f"write {URI}", crash)
    with pytest.raises(Crash):
        post.another().deliver(URI)
    with pytest.raises(DestinationHeld, match="is being delivered"):
        post.another().deliver(URI)
    shelf.location = "machine b"
    assert post.another().deliver(URI).stored_state == "active"
    with reading(post.session):
        held = [ledger.find_under_way(post.session, URI, where) for where in ("machine a", "machine b", "")]
    assert [found is not None for found in held] == [True, False, True]


def test_live_and_test_meet_at_no_location_but_do_not_keep_each_other_from_another(post: Post, shelf: Shelf) -> None:
    shelf.location = "machine a"
    post.deliver(URI)
    shelf.values.clear()
    for same in ("machine a", ""):  # what is not known may be the same
        shelf.location = same
        with pytest.raises(DestinationHeld, match="takes no test key"):
            deliver_test_key(post)
    shelf.location = "machine b"
    deliver_test_key(post)


def test_where_a_key_is_found_the_ledger_follows_it(post: Post, shelf: Shelf) -> None:
    shelf.location = "machine a"
    key = post.deliver(URI)
    shelf.location = "machine b"  # as a volume that another container has
    (found,) = post.delete(key.id)
    assert (found.verdict, post.rows(key.id)[0].location) == ("cleaned_up", "machine b")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "machine a",
        Location("x" * (LONGEST_LOCATION + 1)),
        Location("two\nlines"),
        Location("a", f"msk_live_{'0' * 28}"),
    ],
)
def test_a_location_that_cannot_be_stored_is_the_plugins_fault(post: Post, shelf: Shelf, answer: Any) -> None:
    destination = FakeDestination(shelf, "a")
    object.__setattr__(destination, "location", lambda: answer)
    with pytest.raises(DestinationError, match="Tell its maker"):
        SafeDestination(destination).location()
    assert not post.all_keys()


def test_nothing_is_minted_where_the_location_cannot_be_found_out(post: Post, shelf: Shelf) -> None:
    shelf.plan(f"location {URI}", fail)
    with pytest.raises(DeliveryFailed, match=r"It timed out\. Nothing was minted\."):
        post.deliver(URI)
    assert post.all_keys() == []
