"""The rows: each change is made to this attempt and from the states it names, or not at all."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError, NoResultFound

from mushu.destination import Holding, Location
from mushu.server.audit import SYSTEM
from mushu.server.db import reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import FAIL
from tests.server.delivery.conftest import LEASE, Post

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]


@pytest.fixture
def opened(post: Post) -> Callable[..., tuple[ApiKey, list[Delivery]]]:
    """Return what mints a key with pending deliveries."""

    def open_(*uris: str) -> tuple[ApiKey, list[Delivery]]:
        now = post.clock()
        with writing(post.session):
            key, _ = mint_key(post.session, post.clock, SYSTEM, KeyRequest(org_id=post.org_id, name="k"))
            rows = [ledger.open_delivery(key.id, uri, Location(), "v0", now, now + LEASE, SYSTEM) for uri in uris]
            post.session.add_all(rows)
        return key, rows

    return open_


Opened = Callable[..., tuple[ApiKey, list[Delivery]]]


def _set(post: Post, row: Delivery, state: DeliveryState, **changes: object) -> None:
    with writing(post.session):
        for name, value in {"state": state, **changes}.items():
            setattr(row, name, value)


def _now(post: Post, row: Delivery) -> Delivery:
    with reading(post.session):
        return ledger.get_delivery(post.session, row.id)


def test_two_attempts_never_work_on_one_place(post: Post, opened: Opened) -> None:
    _, (row,) = opened("fake:a")
    with pytest.raises(IntegrityError):
        opened("fake:a")
    _set(post, row, DeliveryState.DELIVERED)
    with pytest.raises(IntegrityError):
        opened("fake:a")
    _set(post, row, DeliveryState.VERIFIED)
    opened("fake:a")


def test_a_key_has_one_delivery_for_each_place_and_what_is_not_there_is_an_error(post: Post, opened: Opened) -> None:
    with pytest.raises(IntegrityError):
        opened("fake:a", "fake:a")
    with reading(post.session), pytest.raises(NoResultFound):
        ledger.get_delivery(post.session, "dlv_unknown")


@pytest.mark.parametrize("state", list(DeliveryState))
class TestFrom:
    def test_put_back_and_hand_back(self, post: Post, opened: Opened, state: DeliveryState) -> None:
        _, (row,) = opened("fake:a")
        _set(post, row, state)
        until = post.clock() + LEASE * 2
        with writing(post.session):
            ledger.put_back(post.session, row, "why", until)
            assert ledger.find_at_work(post.session, "fake:a", "", until - timedelta(seconds=1)) is not None
            assert ledger.find_at_work(post.session, "fake:a", "", until) is None
        now = _now(post, row)
        assert (now.state, now.cleanup_due, now.lease_until) == ("failed", True, until)
        with writing(post.session):
            ledger.hand_back(post.session, row, row.created_at)
            assert ledger.find_at_work(post.session, "fake:a", "", post.clock()) is None
        assert not _now(post, row).may_arrive(post.clock())

    def test_each_change_is_made_from_the_states_it_names(
        self, post: Post, opened: Opened, state: DeliveryState
    ) -> None:
        _, (delivered, verified, failed, removed) = opened("fake:a", "fake:b", "fake:c", "fake:d")
        _set(post, delivered, state, error="earlier")
        for row in (verified, failed, removed):
            _set(post, row, state)
        with writing(post.session):
            arrives = ledger.delivered(post.session, delivered, "v1", post.clock())
            lives = ledger.verified(post.session, verified, Location(), Holding("v1", None), post.clock())
            ledger.fail(post.session, failed, "why")
            ledger.removed(post.session, removed, Location(), post.clock())
        assert arrives == (state in ("pending", "delivered"))
        now = _now(post, delivered)
        assert now.state == ("delivered" if arrives else state)
        assert (now.version, now.error) == (("v1", None) if arrives else (None, "earlier"))
        assert lives == (state in ("pending", "delivered", "verified"))
        assert _now(post, verified).state == ("verified" if lives else state)
        now = _now(post, failed)
        assert now.state == ("failed" if lives else state)
        assert (now.cleanup_due, now.error) == ((True, "why") if lives else (False, None))
        now = _now(post, removed)
        assert now.state == ("removed" if state == "verified" else state)
        assert now.removed_at == (post.clock() if state == "verified" else None)

    def test_another_attempt_changes_nothing_and_it_is_delivered_and_marked_as_its_state_is(
        self, post: Post, opened: Opened, state: DeliveryState
    ) -> None:
        key, (row,) = opened("fake:a")
        _set(post, row, state)
        other = Delivery(id=row.id, attempt_id="att_other")
        with writing(post.session):
            assert not ledger.delivered(post.session, other, "v1", post.clock())
            assert not ledger.verified(post.session, other, Location(), Holding("v1", None), post.clock())
            ledger.put_back(post.session, other, "why", post.clock())
            ledger.note(post.session, other, "why")
        now = _now(post, row)
        assert (now.state, now.error, now.version) == (state, None, None)
        with reading(post.session):
            places = ledger.delivered_to(post.session, [key.id])
        assert places == ({key.id: ["fake:a"]} if state == "verified" else {})
        with writing(post.session):
            ledger.mark_for_cleanup(post.session, key.id)
        assert _now(post, row).cleanup_due == (state != "removed")

    def test_unfinished(self, post: Post, opened: Opened, state: DeliveryState) -> None:
        """A pending key always is, whatever its deliveries say; a dead one where it may hold or lie somewhere."""
        key, (row,) = opened("fake:a")
        _set(post, row, state)
        with reading(post.session):
            assert ledger.keys_under_way(post.session) == ledger.keys_at(post.session, ["fake:a"]) == [key.id]
            assert ledger.keys_to_clean_up(post.session) == ledger.keys_at(post.session, ["fake:b"]) == []
        with writing(post.session):
            change_state(post.session, post.clock, SYSTEM, key.id, FAIL)
        with reading(post.session):
            holds = [key.id] if state in ("pending", "delivered") else []
            assert ledger.keys_under_way(post.session) == ledger.keys_at(post.session, ["fake:a"]) == holds
        _set(post, row, state, cleanup_due=True)
        with reading(post.session):
            assert ledger.keys_to_clean_up(post.session) == ledger.keys_at(post.session, ["fake:a"]) == [key.id]


def test_the_oldest_comes_first_and_of_one_age_the_first_place(post: Post, opened: Opened) -> None:
    first, _ = opened("fake:d", "fake:c")
    post.clock.turn(seconds=1)
    second, _ = opened("fake:b", "fake:a")
    with reading(post.session):
        rows = ledger.list_deliveries(post.session, [second.id, first.id])
        assert ledger.keys_under_way(post.session) == [first.id, second.id]
    assert [row.uri for row in rows] == ["fake:c", "fake:d", "fake:a", "fake:b"]
