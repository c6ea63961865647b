"""After a crash: what the destinations hold, hashed, decides; and what nobody can know is not guessed."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.db import writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.delivery.reconciler import Reconciler
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE
from tests.server.delivery.conftest import LONG_AFTER, Post
from tests.server.delivery.shelf import (
    Crash,
    Fault,
    Shelf,
    after,
    answer_no,
    before,
    crash,
    crash_after,
    fail,
    fine,
    leak_foreign,
    refuse,
    stale,
)

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

CutOff = Callable[..., ApiKey]


@pytest.fixture
def cut_off(post: Post, shelf: Shelf) -> CutOff:
    """Return what begins a delivery, to `fake:a` and `fake:b` if not said, in a process that dies at a call."""

    def begin(call: str, fault: Fault = crash, uris: tuple[str, ...] = ("fake:a", "fake:b")) -> ApiKey:
        shelf.plan(call, *([fine] if call.startswith("read") else []), fault)
        with pytest.raises(Crash):
            post.another().deliver(*uris)
        return post.all_keys()[-1]

    return begin


def _cut_off_one_by_one(post: Post, cut_off: CutOff, *uris: str) -> None:
    for uri in uris:
        cut_off(f"write {uri}", crash_after, (uri,))
        post.clock.turn(seconds=1)


class TestCutOff:
    """A process dies; what is left is found by the next one."""

    @pytest.mark.parametrize(
        ("call", "fault"),
        [("write fake:b", crash_after), ("read fake:a", crash), ("read fake:a", crash_after), ("read fake:b", crash)],
    )
    def test_a_key_that_is_everywhere_becomes_active(
        self, post: Post, shelf: Shelf, cut_off: CutOff, call: str, fault: Fault
    ) -> None:
        key = cut_off(call, fault)
        assert key.stored_state == "pending"
        assert post.verdicts() == ["activated"]
        assert post.state(key.id) == "active"
        assert post.states(key.id) == ["verified", "verified"]
        assert {row.version for row in post.rows(key.id)} == {"v1"}
        assert post.reconcile() == []

    @pytest.mark.parametrize(
        ("call", "fault"), [("write fake:a", crash), ("write fake:a", crash_after), ("write fake:b", crash)]
    )
    def test_one_that_is_not_is_left_alone_within_its_lease_and_dies_afterwards(
        self, post: Post, shelf: Shelf, cut_off: CutOff, call: str, fault: Fault
    ) -> None:
        key = cut_off(call, fault)
        post.clock.turn(seconds=59)
        assert post.verdicts() == ["under_way"]
        assert post.state(key.id) == "pending"
        post.clock.turn(seconds=1)
        (found,) = post.reconcile()
        assert found.verdict == "failed"
        assert "fake:b did not receive it" in found.detail.replace("fake:a, ", "")
        assert post.state(key.id) == "failed"
        assert post.states(key.id) == ["failed", "failed"]
        assert shelf.values == {}
        assert post.reconcile() == []
        assert post.deliver("fake:a", "fake:b").stored_state == "active"

    def test_a_foreign_value_that_came_since_is_left_alone(self, post: Post, shelf: Shelf, cut_off: CutOff) -> None:
        cut_off("write fake:b", crash_after)
        shelf.put("test", "fake:a", "theirs")
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["failed"]
        assert shelf.values == {"fake:a": "theirs"}

    def test_what_cannot_be_read_is_not_guessed(self, post: Post, shelf: Shelf, cut_off: CutOff) -> None:
        key = cut_off("write fake:b", crash_after)
        shelf.unreachable.add("fake:b")
        post.clock.turn(hours=1000)
        (found,) = post.reconcile()
        assert found.verdict == "unreachable"
        assert found.detail == f"fake:b: It does not answer. Deleting {key.id} ends the wait."
        assert [row.error for row in post.rows(key.id)] == [None, "It does not answer."]
        assert post.state(key.id) == "pending"
        shelf.unreachable.clear()
        assert post.verdicts() == ["activated"]
        assert [row.error for row in post.rows(key.id)] == [None, None]

    def test_a_key_that_is_missing_somewhere_dies_even_if_another_place_cannot_be_read(
        self, post: Post, shelf: Shelf, cut_off: CutOff
    ) -> None:
        key = cut_off("write fake:b")
        shelf.unreachable.add("fake:a")
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["failed"]
        assert post.verdicts() == ["unreachable"]
        assert shelf.digest_at("fake:a") == key.digest
        shelf.unreachable.clear()
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}

    def test_a_place_whose_plugin_fails_oddly_or_is_gone_counts_as_unreachable(
        self, post: Post, shelf: Shelf, cut_off: CutOff, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = cut_off("write fake:b", crash_after)
        shelf.plan("read fake:a", leak_foreign)
        (found,) = post.reconcile()
        assert found.verdict == "unreachable"
        assert "failed unexpectedly (ValueError)" in found.detail
        monkeypatch.setattr("tests.server.delivery.shelf.FakeDestination.scheme", "gone")
        assert post.verdicts() == ["unreachable"]
        assert post.state(key.id) == "pending"

    def test_the_key_that_waits_for_an_unreachable_place_can_be_deleted_and_holds_no_other(
        self, post: Post, shelf: Shelf, cut_off: CutOff
    ) -> None:
        key = cut_off("write fake:b", crash_after)
        shelf.unreachable.add("fake:b")
        post.clock.turn(seconds=61)
        with pytest.raises(DestinationHeld, match=key.id):
            post.deliver("fake:a")
        post.delete(key.id)
        assert post.deliver("fake:a").stored_state == "active"
        assert post.under_way("fake:b") is None

    def test_dying_while_things_are_put_back_leaves_a_dead_key_that_is_removed_after_the_lease(
        self, post: Post, shelf: Shelf
    ) -> None:
        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", crash)
        with pytest.raises(Crash):
            post.another().deliver("fake:a", "fake:b")
        assert post.only_key().stored_state == "failed"
        assert post.verdicts() == ["under_way", "under_way"]
        with pytest.raises(DestinationHeld):
            post.deliver("fake:a")
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}


class TestBeforeADelivery:
    """What lies unfinished at a destination is settled before anything new is brought there."""

    @pytest.mark.parametrize("uri", ["fake:a", "fake:b"])
    def test_a_key_that_was_read_back_everywhere_but_not_activated_is_and_not_before_one_elsewhere(
        self, post: Post, shelf: Shelf, cut_off: CutOff, uri: str
    ) -> None:
        key = cut_off("read fake:b", crash_after)
        post.deliver("fake:c")
        assert post.state(key.id) == "pending"
        with pytest.raises(DestinationHeld, match=key.id):
            post.deliver(uri)
        assert post.state(key.id) == "active"

    @pytest.mark.parametrize("uri", ["fake:a", "fake:b"])
    def test_a_key_that_did_not_arrive_dies(self, post: Post, shelf: Shelf, cut_off: CutOff, uri: str) -> None:
        key = cut_off("write fake:b")
        post.clock.turn(seconds=61)
        successor = post.deliver(uri)
        assert post.state(key.id) == "failed"
        assert shelf.values.keys() == {uri}
        assert shelf.digest_at(uri) == successor.digest

    def test_a_pending_key_whose_delivery_is_not_the_servers_is_none_of_its_business(self, post: Post) -> None:
        with writing(post.session):
            key, _ = mint_key(post.session, post.clock, SYSTEM, KeyRequest(org_id=post.org_id, name="by a client"))
        post.clock.turn(hours=1)
        assert post.reconcile() == []
        assert post.state(key.id) == "pending"


class TestLateWrites:
    """A process is stopped after it looked at its lease, continued when its key is dead, and killed when it wrote."""

    def _write_late(self, post: Post, shelf: Shelf, delay: timedelta) -> ApiKey:
        other = post.another()

        def meanwhile() -> None:
            other.clock.now += delay
            assert other.verdicts() == ["failed"]

        shelf.plan("write fake:a", before(meanwhile, fault=crash_after))
        with pytest.raises(Crash):
            post.another().deliver("fake:a")
        assert shelf.digest_at("fake:a") == post.only_key().digest
        return post.only_key()

    @pytest.mark.parametrize(("minutes", "found"), [(2, ["cleaned_up"]), (10, ["cleaned_up"]), (12, [])])
    def test_the_next_run_removes_the_value_but_much_later_it_is_inert(
        self, post: Post, shelf: Shelf, minutes: int, found: list[str]
    ) -> None:
        """Nobody looks forever."""
        key = self._write_late(post, shelf, timedelta(minutes=minutes))
        assert key.stored_state == "failed"
        assert post.verdicts() == found
        assert (shelf.values == {}) is bool(found)
        assert shelf.digest_at("fake:a") == (None if found else key.digest)

    @pytest.mark.parametrize("minutes", [2, 12])
    def test_the_next_delivery_overwrites_it(self, post: Post, shelf: Shelf, minutes: int) -> None:
        self._write_late(post, shelf, timedelta(minutes=minutes))
        key = post.deliver("fake:a")
        assert (key.stored_state, shelf.digest_at("fake:a")) == ("active", key.digest)

    def test_a_place_is_looked_at_for_a_while_and_not_for_ever(self, post: Post, shelf: Shelf, cut_off: CutOff) -> None:
        cut_off("write fake:a", uris=("fake:a",))
        post.clock.turn(minutes=2)
        assert post.verdicts() == ["failed"]
        looks = []
        for _ in range(4):
            shelf.calls.clear()
            assert post.reconcile() == []
            looks.append(shelf.did("remove"))
            post.clock.turn(minutes=5)
        assert looks == [["fake:a"], ["fake:a"], ["fake:a"], []]

    def test_what_could_not_be_seen_when_the_key_died_is_removed_when_it_can(
        self, post: Post, shelf: Shelf, cut_off: CutOff
    ) -> None:
        cut_off("write fake:a", crash_after, uris=("fake:a",))
        post.clock.turn(minutes=2)
        shelf.plan("read fake:a", stale)
        shelf.plan("remove fake:a", answer_no)
        assert post.verdicts() == ["failed"]
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}


class TestSeveralAtOnce:
    @pytest.mark.parametrize("lease_over", [False, True])
    def test_two_that_find_the_same_agree(self, post: Post, shelf: Shelf, cut_off: CutOff, lease_over: bool) -> None:
        key = cut_off("write fake:b", crash if lease_over else crash_after)
        post.clock.turn(seconds=61)
        other = post.another()
        shelf.plan("read fake:b", after(other.reconcile))
        (found,) = post.reconcile()
        assert found.verdict == "under_way"
        assert key.id in found.detail
        assert post.state(key.id) == ("failed" if lease_over else "active")
        assert shelf.values.keys() == (set() if lease_over else {"fake:a", "fake:b"})

    def test_a_key_that_is_deleted_while_it_is_looked_at_stays_deleted(
        self, post: Post, shelf: Shelf, cut_off: CutOff
    ) -> None:
        key = cut_off("write fake:b", crash_after)
        shelf.plan("read fake:b", after(lambda: post.another().delete(key.id)))
        assert post.verdicts() == ["under_way"]
        assert post.state(key.id) == "revoked"
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["cleaned_up", "cleaned_up"]
        assert shelf.values == {}

    def test_a_key_that_is_finished_before_it_is_looked_at_is_left_alone(
        self, post: Post, shelf: Shelf, cut_off: CutOff
    ) -> None:
        _cut_off_one_by_one(post, cut_off, "fake:a", "fake:b")
        shelf.plan("read fake:a", after(post.another().reconcile))
        assert post.verdicts() == ["under_way"]
        assert {key.stored_state for key in post.all_keys()} == {"active"}

    def test_within_the_lease_is_judged_by_when_the_look_began(self, post: Post, shelf: Shelf, cut_off: CutOff) -> None:
        """A slow read must not turn an attempt that was in time into one that was late."""
        key = cut_off("write fake:b")
        post.clock.turn(seconds=30)
        shelf.plan("read fake:b", after(lambda: post.clock.turn(seconds=60)))
        assert post.verdicts() == ["under_way"]
        assert post.state(key.id) == "pending"


class TestDeadKeys:
    def test_a_dead_key_holds_no_destination_whoever_killed_it(self, post: Post, shelf: Shelf, cut_off: CutOff) -> None:
        key = cut_off("write fake:b")
        with writing(post.session):
            change_state(post.session, post.clock, SYSTEM, key.id, DELETE)
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["cleaned_up"]
        assert post.states(key.id) == ["failed", "failed"]
        assert shelf.values == {}
        assert post.deliver("fake:a", "fake:b").stored_state == "active"

    def test_a_key_that_lives_is_never_cleaned_up(self, post: Post, shelf: Shelf) -> None:
        key = post.deliver("fake:a")
        with writing(post.session):
            ledger.mark_for_cleanup(post.session, key.id)
        assert Reconciler(post.session, post.clock, SYSTEM, shelf.open).clean_up(key.id) == []
        assert post.reconcile() == []
        assert shelf.digest_at("fake:a") == key.digest

    def test_a_failed_cleanup_is_noted_tried_again_and_holds_nobody_up(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", refuse)
        shelf.plan("remove fake:a", fail, fail)
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b")
        key = post.only_key()
        assert post.verdicts() == ["unreachable"]
        assert post.rows(key.id)[0].error == "It timed out."
        assert post.deliver("fake:a").stored_state == "active"
        assert post.reconcile() == []

    def test_a_dead_value_that_was_put_back_by_another_delivery_is_removed_after_it(
        self, post: Post, shelf: Shelf
    ) -> None:
        former = post.deliver("fake:a")
        other = post.another()
        shelf.plan("write fake:b", before(lambda: other.delete(former.id), fault=refuse))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert shelf.digest_at("fake:a") == former.digest
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}


def test_what_went_wrong_once_does_not_linger_in_the_session(post: Post, shelf: Shelf) -> None:
    """An error that is put on the object is written by whichever transaction comes next, over what others wrote."""
    shelf.plan("write fake:a", fail, fail, fail)
    with pytest.raises(DeliveryUndecided):
        post.deliver("fake:a")
    kept = post.rows(post.only_key().id)
    shelf.unreachable.add("fake:a")
    post.reconcile()
    assert not post.session.dirty
    shelf.unreachable.clear()
    post.clock.turn(seconds=61)
    post.another().reconcile()
    assert kept[0] in post.session
    reason = "fake:a did not receive it before the attempt ended. The last error was: It does not answer."
    assert post.rows(kept[0].key_id)[0].error == reason


def test_everything_unfinished_is_settled_whatever_the_first_one_says(
    post: Post, shelf: Shelf, cut_off: CutOff
) -> None:
    _cut_off_one_by_one(post, cut_off, "fake:a", "fake:b", "fake:c")
    shelf.unreachable.add("fake:a")
    assert post.verdicts() == ["unreachable", "activated", "activated"]


def test_a_row_knows_until_when_a_write_may_come(post: Post) -> None:
    now = post.clock()
    row = Delivery(state=DeliveryState.FAILED, created_at=now, lease_until=now + timedelta(seconds=60))
    assert row.may_arrive(now)
    assert row.may_arrive(now + timedelta(seconds=659))
    assert not row.may_arrive(now + timedelta(seconds=660))
    row.lease_until = now
    assert not row.may_arrive(now)
    assert not row.may_arrive(now + LONG_AFTER)
