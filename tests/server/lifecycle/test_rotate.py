"""Rotation: a key that works lies in every destination, at every moment and whatever happens."""

from datetime import timedelta

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.db import reading, writing
from mushu.server.errors import (
    DeliveryFailed,
    DeliveryUndecided,
    DestinationHeld,
    Invalid,
    WrongState,
)
from mushu.server.keys import retirement, rotation
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DISABLE, AtDeadline, State
from mushu.server.lifecycle.maintain import keep_house
from tests.server.delivery.conftest import LEASE, Post
from tests.server.delivery.shelf import Crash, Fault, after, before, crash, crash_after, fail, lie, lose_answer, refuse
from tests.server.verbs import issue_key, issue_to, show_successor, succeed

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

A, B = "fake:a", "fake:b"
HOUR = timedelta(hours=1)


def rotate(post: Post, key: ApiKey, *uris: str, force: bool = False, **terms: object) -> ApiKey:
    return succeed(post.context(), key.id, Terms(**terms), uris, force=force)[0]  # type: ignore[arg-type]


def house(post: Post) -> list[tuple[str, str]]:
    return [(found.key_id, str(found.verdict)) for found in keep_house(post.context())]


def use(post: Post, key: ApiKey) -> None:
    with writing(post.session):
        retirement.note_first_uses(post.session, {key.id: post.clock()})


def state(post: Post, key: ApiKey) -> str:
    with reading(post.session):
        return get_key(post.session, key.id).state(post.clock())


def active(post: Post) -> ApiKey:
    (found,) = [key for key in post.all_keys() if key.stored_state == State.ACTIVE]
    return found


def row(post: Post, successor: ApiKey) -> Rotation:
    with reading(post.session):
        found = rotation.find_rotation_to(post.session, successor.id)
    assert found is not None
    return found


def cut_off(post: Post, *faults: Fault, at: str = B) -> ApiKey:
    """Begin to rotate a key that lies in two places, and die at one of them."""
    old = post.deliver(A, B)
    post.shelf.plan(f"write {at}", *(faults or (crash,)))
    with pytest.raises(Crash):
        rotate(post, old)
    return old


def verdicts(post: Post) -> list[str]:
    return [verdict for _, verdict in house(post)]


def held(post: Post) -> list[str | None]:
    return [post.shelf.digest_at(uri) for uri in (A, B)]


def test_it_works(post: Post) -> None:
    old = post.deliver(A, B)
    new, places = succeed(post.context(), old.id, Terms())
    assert places == [A, B]
    assert held(post) == [new.digest, new.digest]
    assert (state(post, old), state(post, new)) == ("retiring", "active")
    assert post.states(old.id) == ["replaced", "replaced"]
    assert post.states(new.id) == ["verified", "verified"]


class TestRetiring:
    def test_the_old_key_lives_until_it_settled_after_the_first_use_of_the_new_one(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old, settle=HOUR)
        post.clock.turn(days=300)
        assert (state(post, old), house(post)) == ("retiring", [])
        use(post, new)
        post.clock.turn(seconds=3_599)
        assert (state(post, old), house(post)) == ("retiring", [])
        post.clock.turn(seconds=1)
        assert state(post, old) == "revoked"
        assert house(post) == [(old.id, "retired")]
        assert post.state(old.id) == "revoked"
        assert held(post)[0] == new.digest
        assert row(post, new).settled_at == post.clock()
        assert house(post) == []

    def test_uses_of_other_keys_change_nothing(self, post: Post) -> None:
        old = post.deliver(A)
        rotate(post, old)
        use(post, post.deliver(B))
        use(post, old)
        with reading(post.session):
            assert get_key(post.session, old.id).retires_at is None

    def test_the_value_of_the_old_key_is_taken_away_where_the_new_one_is_not(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old, B, settle=HOUR)
        assert held(post) == [old.digest, new.digest]
        use(post, new)
        post.clock.turn(hours=1)
        house(post)
        assert held(post) == [None, new.digest]

    def test_at_once_ends_it_in_the_same_moment_and_elsewhere_takes_its_value_away(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old, at_once=True)
        assert (post.state(old.id), post.state(new.id)) == ("revoked", "active")
        assert house(post) == []
        assert held(post)[0] == new.digest
        last = rotate(post, new, B, at_once=True)
        house(post)
        assert held(post) == [None, last.digest]

    def test_revoke_does_not_wait_beyond_the_deadline(self, post: Post) -> None:
        old = post.deliver(A)
        rotate(post, old, deadline=HOUR, at_deadline=AtDeadline.REVOKE)
        post.clock.turn(seconds=3_599)
        assert state(post, old) == "retiring"
        post.clock.turn(seconds=1)
        assert state(post, old) == "revoked"
        assert house(post) == [(old.id, "retired")]

    def test_a_first_use_shortly_before_the_deadline_still_settles(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old, settle=HOUR, deadline=HOUR, at_deadline=AtDeadline.REVOKE)
        post.clock.turn(minutes=59)
        use(post, new)
        post.clock.turn(minutes=59)
        assert state(post, old) == "retiring"
        post.clock.turn(minutes=1)
        assert state(post, old) == "revoked"

    def test_a_first_use_after_its_end_does_not_revive_it(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old, deadline=HOUR, at_deadline=AtDeadline.REVOKE)
        post.clock.turn(hours=1)
        use(post, new)
        assert state(post, old) == "revoked"

    def test_deleting_the_new_key_lets_the_old_one_live(self, post: Post) -> None:
        old = post.deliver(A)
        new = rotate(post, old)
        post.delete(new.id)
        post.clock.turn(days=1)
        assert house(post) == []
        assert state(post, old) == "retiring"

    def test_an_old_key_that_expired_is_not_waited_for(self, post: Post) -> None:
        request = KeyRequest(org_id=post.org_id, name="k", expires_at=post.clock() + 3 * HOUR)
        old = issue_to(post.context(), request, [A])[0]
        rotate(post, old, deadline=HOUR)
        for hours, expected in ((1, [old.id]), (1, [old.id]), (1, [])):
            post.clock.turn(hours=hours)
            with reading(post.session):
                stalled = rotation.list_stalled(post.session, post.clock())
            assert [found.predecessor_id for found in stalled] == expected


class TestWhatLiesThere:
    def test_nothing_is_a_reason_to_ask_for_a_place(self, post: Post) -> None:
        with writing(post.session):
            key, _ = issue_key(post.session, post.clock, SYSTEM, KeyRequest(org_id=post.org_id, name="shown"))
        with pytest.raises(Invalid, match="--show-once"):
            rotate(post, key)
        new = rotate(post, key, A)
        assert new.digest == held(post)[0]
        with pytest.raises(WrongState, match=f"{new.id} takes over"):
            rotate(post, key)

    def test_a_missing_value_is_put_there_again_and_a_foreign_one_is_not_overwritten(self, post: Post) -> None:
        key = post.deliver(A)
        post.shelf.put("hand", A, None)
        key = rotate(post, key)
        assert key.digest == held(post)[0]
        post.shelf.put("hand", A, "theirs")
        with pytest.raises(DestinationHeld):
            rotate(post, key)
        assert (post.shelf.values[A], state(post, key), len(post.all_keys())) == ("theirs", "active", 2)
        assert rotate(post, key, force=True).digest == held(post)[0]

    def test_a_former_key_of_the_same_line_makes_way(self, post: Post) -> None:
        first = post.deliver(A)
        value = post.shelf.values[A]
        second = rotate(post, first)
        post.shelf.put("hand", A, value)  # someone restored an old copy
        third = rotate(post, second)
        assert (held(post)[0], state(post, first)) == (third.digest, "retiring")

    def test_another_living_key_does_not(self, post: Post) -> None:
        key, other = post.deliver(A), post.deliver(B)
        post.shelf.put("hand", A, post.shelf.values[B])
        with pytest.raises(DestinationHeld, match=other.id):
            rotate(post, key)


class TestFailing:
    @pytest.mark.parametrize("fault", [refuse, lie])
    def test_where_the_second_place_refuses_or_lies_the_old_key_is_put_back_and_works(
        self, post: Post, fault: Fault
    ) -> None:
        old = post.deliver(A, B)
        post.shelf.plan(f"write {B}", fault)
        with pytest.raises(DeliveryFailed):
            rotate(post, old)
        assert held(post) == [old.digest, old.digest]
        assert state(post, old) == "active"
        assert post.states(old.id) == ["verified", "verified"]
        assert house(post) == []
        with reading(post.session):
            assert rotation.list_broken_off(post.session) == []
        assert rotate(post, old).digest == held(post)[1]

    def test_a_key_that_is_disabled_meanwhile_is_not_succeeded(self, post: Post) -> None:
        old = post.deliver(A)

        other = post.another()

        def disable() -> None:
            with writing(other.session):
                change_state(other.session, other.clock, SYSTEM, old.id, DISABLE)

        post.shelf.plan(f"write {A}", before(disable))
        with pytest.raises(DeliveryFailed, match="disabled"):
            rotate(post, old)
        assert (state(post, old), held(post)[0]) == ("disabled", old.digest)

    def test_a_key_that_is_deleted_meanwhile_is_succeeded_all_the_same(self, post: Post) -> None:
        old = post.deliver(A)
        other = post.another()

        post.shelf.plan(f"write {A}", after(lambda: other.delete(old.id)))
        new = rotate(post, old)
        assert (state(post, old), state(post, new), held(post)[0]) == ("revoked", "active", new.digest)
        post.clock.turn(hours=1)
        house(post)
        assert held(post)[0] == new.digest


class TestCutOff:
    def test_after_the_first_of_two_places_it_is_done_again(self, post: Post) -> None:
        old = cut_off(post)
        assert house(post)[0][1] == "under_way"
        assert state(post, old) == "active"
        post.clock.turn(seconds=LEASE.total_seconds())
        assert verdicts(post) == ["failed", "rotated"]
        new = active(post)
        assert held(post) == [new.digest, new.digest]
        assert (state(post, old), state(post, new)) == ("retiring", "active")
        assert house(post) == []

    def test_after_the_last_place_it_is_finished(self, post: Post) -> None:
        old = cut_off(post, crash_after)
        assert verdicts(post) == ["activated"]
        new = active(post)
        assert held(post) == [new.digest, new.digest]
        assert (state(post, old), state(post, new)) == ("retiring", "active")
        assert post.states(old.id) == ["replaced", "replaced"]

    def test_before_anything_was_written_nothing_is_done_again(self, post: Post) -> None:
        old = cut_off(post, crash, at=A)
        post.clock.turn(seconds=LEASE.total_seconds())
        assert verdicts(post) == ["failed"]
        assert held(post) == [old.digest, old.digest]
        assert state(post, old) == "active"
        assert house(post) == []

    def test_an_unclear_write_is_found_out_later(self, post: Post) -> None:
        old = post.deliver(A)
        post.shelf.plan(f"write {A}", lose_answer, fail, fail)
        post.shelf.plan(f"read {A}", *[_fine] * 2, fail, fail, fail)
        with pytest.raises(DeliveryUndecided):
            rotate(post, old)
        assert state(post, old) == "active"
        assert verdicts(post) == ["activated"]
        assert state(post, old) == "retiring"

    def test_what_cannot_be_put_back_is_done_again_once_it_can_be_reached(self, post: Post) -> None:
        old = post.deliver(A, B)
        post.shelf.plan(f"write {B}", refuse)
        post.shelf.plan(f"restore {A}", fail, fail, fail)
        with pytest.raises(DeliveryFailed):
            rotate(post, old)
        post.shelf.unreachable.add(A)
        post.clock.turn(hours=1)
        assert "unreachable" in verdicts(post)
        post.shelf.unreachable.clear()
        assert "rotated" in verdicts(post)
        new = active(post)
        assert held(post) == [new.digest, new.digest]

    def test_a_foreign_value_that_came_meanwhile_is_left_alone(self, post: Post) -> None:
        cut_off(post)
        post.shelf.put("hand", A, "theirs")
        post.clock.turn(seconds=LEASE.total_seconds())
        assert verdicts(post) == ["failed", "drifted"]
        assert post.shelf.values[A] == "theirs"
        assert house(post) == []

    def test_what_fails_again_and_again_is_tried_once_each_time(self, post: Post) -> None:
        old = cut_off(post, crash, *[refuse] * 50)
        for minted in range(3, 8):
            post.clock.turn(hours=1)
            assert verdicts(post)[-1] == "unreachable"
            assert len(post.all_keys()) == minted
            assert state(post, old) == "active"
        post.shelf.script.clear()
        post.clock.turn(hours=1)
        assert (old.id, "rotated") in house(post)
        new = active(post)
        assert held(post) == [new.digest, new.digest]
        assert house(post) == []

    def test_what_fails_whenever_it_is_tried_is_tried_less_and_less(self, post: Post) -> None:
        old = cut_off(post, crash, *[refuse] * 500)
        told = ""
        for _ in range(24 * 4):
            post.clock.turn(minutes=15)
            findings = keep_house(post.context())
            told += " ".join(finding.detail for finding in findings)
        assert len(post.all_keys()) < 20
        assert f"`flask keys rotate {old.id}` does it now." in told
        post.shelf.script.clear()
        new = rotate(post, old)
        assert held(post) == [new.digest, new.digest]
        house(post)
        assert house(post) == []

    def test_a_key_that_was_deleted_since_is_not_rotated_again(self, post: Post) -> None:
        old = cut_off(post)
        post.delete(old.id)
        post.clock.turn(hours=1)
        house(post)
        assert held(post) == [None, None]
        assert {key.stored_state for key in post.all_keys()} <= {"revoked", "failed"}


class TestShown:
    def test_a_successor_that_is_shown_once_works_at_once(self, post: Post) -> None:
        old = post.deliver(A)
        minted = show_successor(post.context(), old.id, Terms(settle=HOUR))
        new, secret = minted.key, minted.secret
        assert secret is not None
        assert secret.digest() == new.digest
        assert (state(post, old), state(post, new)) == ("retiring", "active")
        assert post.states(old.id) == ["verified"]
        use(post, new)
        post.clock.turn(hours=1)
        house(post)
        assert held(post)[0] is None

    def test_of_two_successors_one_takes_over(self, post: Post) -> None:
        old = post.deliver(A)
        show_successor(post.context(), old.id, Terms())
        with pytest.raises(WrongState):
            show_successor(post.context(), old.id, Terms())
        assert sorted(key.stored_state for key in post.all_keys()) == [State.ACTIVE, State.RETIRING]


def test_what_is_due_is_told_the_most_overdue_first(post: Post) -> None:
    def minted(days: int) -> ApiKey:
        request = KeyRequest(org_id=post.org_id, name=f"every {days}", rotate_every=timedelta(days=days))
        return issue_to(post.context(), request, [f"fake:{days}"])[0]

    weekly, daily, never = minted(7), minted(1), post.deliver(A)
    with reading(post.session):
        assert rotation.keys_due(post.session, post.clock()) == []
    post.clock.turn(days=7)
    with reading(post.session):
        assert [key_id for key_id, _ in rotation.keys_due(post.session, post.clock())] == [daily.id, weekly.id]
        assert rotation.keys_due(post.session, post.clock(), "org_other") == []
    rotate(post, daily)
    with reading(post.session):
        assert [key_id for key_id, _ in rotation.keys_due(post.session, post.clock(), post.org_id)] == [weekly.id]
    assert never.rotate_at is None


def _fine(plaintext: str, act: object) -> object:
    return act()  # type: ignore[operator]
