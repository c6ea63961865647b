"""Deleting: the key dies first, and only its own value is taken away, wherever it can be reached."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import sqlalchemy

from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import AnySession, own_session, reading, writing
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, KeyNotFound, WrongState
from mushu.server.keys import revocation_journal
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.revocation_journal import JournalPosition
from mushu.server.keys.service import get_key
from mushu.server.keys.states import State
from mushu.server.lifecycle.delete import delete, follow_journal, revoke_key
from tests.server.conftest import World
from tests.server.delivery.conftest import LONG_AFTER, Post
from tests.server.delivery.shelf import Crash, Shelf, answer_no, before, crash, crash_after, fail, refuse
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database


def test_it_works(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a", "fake:b")
    shelf.values["fake:c"] = "a neighbour"
    found = post.delete(key.id)
    assert [(finding.verdict, finding.detail) for finding in found] == [
        ("cleaned_up", "fake:a: its value was removed."),
        ("cleaned_up", "fake:b: its value was removed."),
    ]
    assert post.state(key.id) == "revoked"
    assert post.states(key.id) == ["removed", "removed"]
    assert shelf.values == {"fake:c": "a neighbour"}
    assert [row.removed_at for row in post.rows(key.id)] == [post.clock.now] * 2
    assert not any(row.cleanup_due for row in post.rows(key.id))
    assert post.reconcile() == []


def test_the_key_is_dead_before_its_value_is_touched_and_is_deleted_once(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a")
    seen: list[str] = []
    shelf.plan("remove fake:a", before(lambda: seen.append(post.another().state(key.id))))
    post.delete(key.id)
    assert seen == ["revoked"]
    with pytest.raises(WrongState):
        post.delete(key.id)
    with pytest.raises(KeyNotFound):
        post.delete("key_unknown")


def test_a_key_that_was_delivered_nowhere_is_deleted_like_any_other(post: Post, shelf: Shelf) -> None:
    with writing(post.session):
        key, _ = issue_key(post.session, post.clock, SYSTEM, KeyRequest(org_id=post.org_id, name="shown"))
    assert post.delete(key.id) == []
    assert post.state(key.id) == "revoked"


@pytest.mark.fault
@pytest.mark.parametrize("value", ["theirs", None])
def test_a_value_that_is_not_the_keys_any_more_is_left_alone(post: Post, shelf: Shelf, value: str | None) -> None:
    key = post.deliver("fake:a")
    shelf.put("test", "fake:a", value)
    (found,) = post.delete(key.id)
    assert (found.verdict, found.detail) == ("absent", "fake:a: its value is not there.")
    assert shelf.values.get("fake:a") == value
    (row,) = post.rows(key.id)
    assert (row.state, row.removed_at, row.error, row.cleanup_due) == ("removed", None, None, False)
    assert post.reconcile() == []


def test_the_value_of_its_successor_is_left_alone(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a")
    successor = post.deliver("fake:a", force=True)
    post.delete(key.id)
    post.clock.now += LONG_AFTER
    post.reconcile()
    assert shelf.digest_at("fake:a") == successor.digest
    assert post.state(successor.id) == "active"


def test_a_place_that_does_not_answer_is_cleaned_up_when_it_does(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a", "fake:b")
    shelf.unreachable.add("fake:a")
    found = post.delete(key.id)
    assert [finding.verdict for finding in found] == ["unreachable", "cleaned_up"]
    assert post.state(key.id) == "revoked"
    assert post.verdicts() == ["unreachable"]
    assert post.rows(key.id)[0].error == "It does not answer."
    shelf.unreachable.clear()
    assert post.verdicts() == ["cleaned_up"]
    assert shelf.values == {}
    assert post.states(key.id) == ["removed", "removed"]


def test_a_place_that_does_not_answer_is_cleaned_up_before_the_next_delivery_too(post: Post, shelf: Shelf) -> None:
    dead = post.deliver("fake:a")
    shelf.plan("remove fake:a", fail)
    post.delete(dead.id)
    key = post.deliver("fake:a")
    assert post.states(dead.id) == ["removed"]
    assert shelf.digest_at("fake:a") == key.digest


def test_dying_on_the_way_leaves_the_rest_to_the_next_run(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a", "fake:b")
    shelf.plan("remove fake:b", crash)
    with pytest.raises(Crash):
        post.another().delete(key.id)
    assert post.state(key.id) == "revoked"
    assert shelf.values.keys() == {"fake:b"}
    assert post.verdicts() == ["cleaned_up"]
    assert shelf.values == {}


def test_nothing_is_removed_if_the_transaction_of_the_caller_fails_nor_for_good_if_it_may_stay(
    post: Post, shelf: Shelf
) -> None:
    key, other = post.deliver("fake:a"), post.another()
    with pytest.raises(RuntimeError), writing(other.session):
        revoke_key(other.session, other.clock, SYSTEM, key.id)
        raise RuntimeError
    assert post.state(key.id) == "active"
    assert post.reconcile() == []
    assert shelf.digest_at("fake:a") == key.digest
    assert post.delete(key.id, keep_value=True) == []
    post.clock.now += LONG_AFTER
    assert post.reconcile() == []
    assert shelf.digest_at("fake:a") == key.digest
    assert post.state(key.id) == "revoked"


@pytest.mark.parametrize("keep_value", [False, True])
def test_a_pending_key_lets_go_of_its_place_at_once_and_is_removed_after_its_lease(
    post: Post, shelf: Shelf, keep_value: bool
) -> None:
    """Within the lease its courier may live, and know what to put back."""
    shelf.plan("write fake:b", crash_after)
    with pytest.raises(Crash):
        post.another().deliver("fake:a", "fake:b")
    key = post.only_key()
    found = post.delete(key.id, keep_value=keep_value)
    assert [finding.verdict for finding in found] == ["under_way", "under_way"]
    assert "run again after 2026-01-15T10:31:00Z" in found[0].detail
    assert post.under_way("fake:a") is None
    post.clock.turn(seconds=61)
    assert post.verdicts() == ["cleaned_up", "cleaned_up"]
    assert shelf.values == {}


def test_a_failed_key_can_be_deleted_and_is_looked_for_once_more(post: Post, shelf: Shelf) -> None:
    shelf.plan("write fake:a", fail, fail, fail)
    with pytest.raises(DeliveryUndecided):
        post.deliver("fake:a")
    post.clock.turn(minutes=20)
    assert post.verdicts() == ["failed"]
    (late,) = shelf.seen
    shelf.put("test", "fake:a", late)
    assert [finding.verdict for finding in post.delete(post.only_key().id)] == ["cleaned_up"]
    assert shelf.values == {}


def test_a_write_that_may_still_come_is_watched_for_even_if_the_value_was_removed(post: Post, shelf: Shelf) -> None:
    """Recovery proved the key, so its courier is held up somewhere, perhaps before it tries again."""
    shelf.plan("write fake:a", crash_after)
    with pytest.raises(Crash):
        post.another().deliver("fake:a")
    assert post.verdicts() == ["activated"]
    key = post.only_key()
    post.delete(key.id)
    assert post.states(key.id) == ["removed"]
    (late,) = shelf.seen
    shelf.put("test", "fake:a", late)
    assert post.verdicts() == ["cleaned_up"]
    assert shelf.values == {}


class TestOrganization:
    def test_all_its_keys_die_and_their_values_are_removed(self, post: Post, shelf: Shelf) -> None:
        keys = [post.deliver("fake:a"), post.deliver("fake:b", "fake:c")]
        gone = post.deliver("fake:d")
        post.delete(gone.id)
        assert [finding.verdict for finding in post.delete_org()] == ["cleaned_up"] * 3
        assert [post.state(key.id) for key in keys] == ["revoked"] * 2
        assert shelf.values == {}

    def test_its_pending_keys_hold_no_place(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:a", crash)
        with pytest.raises(Crash):
            post.another().deliver("fake:a")
        post.delete_org()
        assert post.only_key().stored_state == "revoked"
        assert post.under_way("fake:a") is None

    def test_what_failed_before_is_cleaned_up_though_its_organization_is_gone(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", answer_no)
        shelf.plan("remove fake:a", fail)
        with pytest.raises(DeliveryFailed, match="It may be left there"):
            post.deliver("fake:a", "fake:b")
        post.delete_org()
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}


def test_two_that_follow_the_journal_at_the_same_moment_revoke_once_and_both_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an old database was put back, many requests find at once that it is behind."""
    key, _ = world.key(world.org())
    delete(context_for(SYSTEM), key.id)
    with writing(db.session):  # as the older database has it
        db.session.execute(sqlalchemy.update(ApiKey).values(stored_state=State.ACTIVE, revoked_at=None))
        db.session.execute(sqlalchemy.delete(JournalPosition))
    both, engine, context = Barrier(2), db.engine, context_for(SYSTEM)
    real = revocation_journal.is_behind

    def looked(session: AnySession) -> bool:
        found = real(session)
        both.wait(10)
        return found

    def follow(_: int) -> int:
        with own_session(engine) as session:
            return len(follow_journal(replace(context, session=session)))

    monkeypatch.setattr(revocation_journal, "is_behind", looked)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(follow, range(2))) == [0, 1]
    with reading(db.session):
        assert get_key(db.session, key.id).stored_state == State.REVOKED
