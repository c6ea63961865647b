"""One key for each Idempotency-Key, whatever became of the request that asked first."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import event, select

from mushu.secret import Secret
from mushu.server.audit.models import AuditEvent
from mushu.server.audit.service import SYSTEM
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import issue_successor
from mushu.server.delivery.client import CONFIRM_WITHIN, Proof, confirm, mint_for_client, rotate_for_client
from mushu.server.delivery.once import Minted, mint_once
from mushu.server.delivery.rotation import Rotator, keep_house
from mushu.server.errors import (
    AlreadyCreated,
    DeliveryFailed,
    DeliveryUndecided,
    DestinationHeld,
    IdempotencyMismatch,
    InProgress,
)
from mushu.server.idempotency import Once
from mushu.server.keys.activation import issue_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import get_key
from tests.server.delivery.conftest import LEASE, LONG_AFTER, Post
from tests.server.delivery.shelf import Crash, Shelf, crash, crash_after, fail, lose_answer, refuse

ONCE = Once("a" * 64, "b" * 64)
A, B = "fake:a", "fake:b"

Mint = Callable[[Post], Minted]


def request(post: Post) -> KeyRequest:
    return KeyRequest(org_id=post.org_id, name="backend", once=ONCE)


def to_places(*uris: str) -> Mint:
    """Return what has the server deliver a new key."""

    def mint(post: Post) -> Minted:
        key, places = post.courier().deliver(request(post), uris)
        return Minted(key, delivered_to=places)

    return mint


def shown(post: Post) -> Minted:
    with writing(post.session):
        return Minted(*issue_key(post.session, post.clock, SYSTEM, request(post)))


def by_client(post: Post) -> Minted:
    with writing(post.session):
        return Minted(*mint_for_client(post.session, post.clock, SYSTEM, request(post)))


def ask(post: Post, mint: Mint, once: Once | None = ONCE) -> Minted:
    return mint_once(post.courier(), once, lambda: mint(post))


def never(post: Post) -> Minted:
    raise AssertionError("it was minted again")


def repeated(post: Post) -> Minted:
    """Ask again, from a process that must not mint."""
    return ask(post.another(), never)


def actions(post: Post) -> list[str]:
    with reading(post.session):
        return list(post.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


class TestAfterASuccess:
    def test_what_the_server_delivered_is_answered_again_and_nothing_is_done(self, post: Post, shelf: Shelf) -> None:
        first = ask(post, to_places(A, B))
        done, told = len(shelf.calls), actions(post)
        again = repeated(post)
        assert (again.key.id, again.secret, list(again.delivered_to)) == (first.key.id, None, [A, B])
        assert len(shelf.calls) == done
        assert actions(post) == told
        assert len(post.all_keys()) == 1

    @pytest.mark.parametrize("mint", [shown, by_client])
    def test_a_key_that_was_in_the_answer_is_not_shown_again(self, post: Post, mint: Mint) -> None:
        first = ask(post, mint)
        assert first.secret is not None
        with pytest.raises(AlreadyCreated) as caught:
            repeated(post)
        assert caught.value.key_id == first.key.id
        assert f"delete {first.key.id} and create another with a new Idempotency-Key" in str(caught.value)
        assert len(post.all_keys()) == 1

    def test_a_key_that_a_client_has_proven_is_not_shown_again_either(self, post: Post) -> None:
        first = ask(post, by_client)
        with writing(post.session):
            proof = Proof("env:/home/ada/.env#KEY", first.key.digest)
            confirm(post.session, post.clock, SYSTEM, get_key(post.session, first.key.id), [proof])
        with pytest.raises(AlreadyCreated):
            repeated(post)

    @pytest.mark.parametrize("mint", [to_places(A), shown])
    def test_a_key_that_was_deleted_since_is_not_minted_again(self, post: Post, mint: Mint) -> None:
        first = ask(post, mint)
        post.delete(first.key.id)
        with pytest.raises(AlreadyCreated, match=f"{first.key.id} was created by this request before, and is over"):
            repeated(post)

    def test_another_request_is_refused(self, post: Post) -> None:
        ask(post, to_places(A))
        with pytest.raises(IdempotencyMismatch):
            ask(post, never, replace(ONCE, request_digest="c" * 64))

    def test_without_a_mark_every_request_mints(self, post: Post) -> None:
        def mint(post: Post) -> Minted:
            return Minted(post.deliver(A, force=True))

        assert ask(post, mint, None).key.id != ask(post, mint, None).key.id


class TestAfterAFailure:
    def test_nothing_minted_is_nothing_done(self, post: Post, shelf: Shelf) -> None:
        shelf.plan(f"preflight {A}", refuse)
        with pytest.raises(DeliveryFailed, match="Nothing was minted"):
            ask(post, to_places(A))
        assert ask(post, to_places(A)).key.stored_state == "active"

    def test_a_refused_delivery_may_be_asked_for_again(self, post: Post, shelf: Shelf) -> None:
        shelf.plan(f"write {A}", refuse)
        with pytest.raises(DeliveryFailed):
            ask(post, to_places(A))
        first = post.only_key()
        second = ask(post, to_places(A))
        assert second.key.id != first.id
        assert repeated(post).key.id == second.key.id
        assert sorted(key.stored_state for key in post.all_keys()) == ["active", "failed"]

    def test_a_foreign_value_is_told_as_ever(self, post: Post, shelf: Shelf) -> None:
        shelf.values[A] = "foreign"
        with pytest.raises(DestinationHeld, match="did not put there"):
            ask(post, to_places(A))
        del shelf.values[A]
        assert ask(post, to_places(A)).key.stored_state == "active"

    @pytest.mark.parametrize("kept_house", [False, True])
    def test_what_no_client_proved_in_time_may_be_asked_for_again(self, post: Post, kept_house: bool) -> None:
        first = ask(post, by_client)
        post.clock.now += CONFIRM_WITHIN
        if kept_house:
            keep_house(post.courier())
        second = ask(post.another(), by_client)
        assert second.secret is not None
        assert post.state(first.key.id) == "failed"
        assert post.state(second.key.id) == "pending"

    def test_a_pending_key_that_was_deleted_may_be_asked_for_again(self, post: Post) -> None:
        first = ask(post, by_client)
        post.delete(first.key.id)
        assert ask(post, by_client).key.id != first.key.id


class TestAfterACrash:
    """The process of the first request died between T1 and T4."""

    @pytest.fixture
    def cut_off(self, post: Post, shelf: Shelf) -> Callable[..., ApiKey]:
        def begin(call: str, fault: Callable[..., object] = crash, *uris: str) -> ApiKey:
            shelf.plan(call, *([lambda _, act: act()] if call.startswith("read") else []), fault)
            with pytest.raises(Crash):
                ask(post.another(), to_places(*(uris or (A,))))
            return post.only_key()

        return begin

    def test_within_the_lease_it_is_to_wait(self, post: Post, cut_off: Callable[..., ApiKey]) -> None:
        key = cut_off(f"write {A}")
        post.clock.turn(seconds=20.5)
        with pytest.raises(InProgress) as caught:
            repeated(post)
        assert (caught.value.key_id, caught.value.retry_after) == (key.id, 40)
        assert f"{key.id}, which this request created before, is being delivered" in str(caught.value)
        assert post.state(key.id) == "pending"

    def test_once_the_lease_is_over_it_mints_afresh(self, post: Post, cut_off: Callable[..., ApiKey]) -> None:
        key = cut_off(f"write {A}")
        post.clock.now += LEASE
        again = ask(post.another(), to_places(A))
        assert again.key.id != key.id
        assert post.state(key.id) == "failed"
        assert post.state(again.key.id) == "active"

    def test_so_it_does_where_it_was_reconciled_before(self, post: Post, cut_off: Callable[..., ApiKey]) -> None:
        key = cut_off(f"write {A}")
        post.clock.now += LEASE
        assert post.verdicts() == ["failed"]
        assert ask(post.another(), to_places(A)).key.id != key.id

    @pytest.mark.parametrize("call", [f"write {B}", f"read {A}", f"read {B}"])
    def test_a_key_that_arrived_everywhere_is_answered(
        self, post: Post, cut_off: Callable[..., ApiKey], call: str
    ) -> None:
        key = cut_off(call, crash_after, A, B)
        again = repeated(post)
        assert (again.key.id, again.key.stored_state) == (key.id, "active")
        assert list(again.delivered_to) == [A, B]

    def test_a_destination_that_does_not_answer_leaves_it_open(
        self, post: Post, shelf: Shelf, cut_off: Callable[..., ApiKey]
    ) -> None:
        key = cut_off(f"write {A}", crash_after)
        shelf.unreachable.add(A)
        post.clock.now += LONG_AFTER
        with pytest.raises(DeliveryUndecided) as caught:
            repeated(post)
        assert (caught.value.key_id, caught.value.retry_after) == (key.id, 30)
        assert key.id in str(caught.value)
        shelf.unreachable.clear()
        assert repeated(post).key.id == key.id

    def test_a_write_whose_outcome_is_unclear_is_found_out(self, post: Post, shelf: Shelf) -> None:
        shelf.plan(f"write {A}", fail, fail, lose_answer)
        shelf.plan(f"read {A}", lambda _, act: act(), fail)
        with pytest.raises(DeliveryUndecided) as caught:
            ask(post, to_places(A))
        assert caught.value.key_id is None, "the first answer, as ever"
        assert repeated(post).key.id == post.only_key().id


def test_who_looks_locks_the_key_first_as_who_delivers_does(post: Post, shelf: Shelf) -> None:
    """Both may activate it at the same moment; on PostgreSQL they would else wait for each other."""
    updated: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            updated.append(statement.split()[1])

    shelf.plan(f"read {A}", lambda _, act: act(), crash)
    with pytest.raises(Crash):
        ask(post.another(), to_places(A))
    event.listen(post.engine, "before_cursor_execute", note)
    repeated(post)
    event.remove(post.engine, "before_cursor_execute", note)
    assert updated == ["api_keys", "deliveries"]


class TestAtTheSameMoment:
    """The other request gets its turn when this one has looked and found nothing."""

    @pytest.mark.parametrize("mint", [shown, by_client])
    def test_the_slower_finds_the_key_of_the_faster(self, post: Post, mint: Mint) -> None:
        def late(post: Post) -> Minted:
            ask(post.another(), mint)
            return mint(post)

        with pytest.raises(AlreadyCreated) as caught:
            ask(post, late)
        assert caught.value.key_id == post.only_key().id

    def test_so_it_does_where_both_deliver(self, post: Post) -> None:
        def late(post: Post) -> Minted:
            ask(post.another(), to_places(A))
            return to_places(A)(post)

        assert ask(post, late).key.id == post.only_key().id

    def test_and_where_the_faster_comes_when_the_slower_has_looked_at_the_destination(
        self, post: Post, shelf: Shelf
    ) -> None:
        def overtaken(plaintext: str, act: Callable[[], object]) -> object:
            holding = act()
            ask(post.another(), to_places(A))
            return holding

        shelf.plan(f"read {A}", overtaken)
        assert ask(post, to_places(A)).key.id == post.only_key().id

    def test_while_the_faster_writes_the_slower_is_told_to_wait(self, post: Post, shelf: Shelf) -> None:
        told: list[InProgress] = []

        def meanwhile(plaintext: str, act: Callable[[], object]) -> object:
            with pytest.raises(InProgress) as caught:
                ask(post.another(), to_places(A))
            told.append(caught.value)
            return act()

        shelf.plan(f"write {A}", meanwhile)
        first = ask(post, to_places(A))
        assert [(one.key_id, one.retry_after) for one in told] == [(first.key.id, 60)]
        assert post.only_key().stored_state == "active"

    def test_one_that_looks_when_all_is_written_ends_it_and_both_answer_the_same(
        self, post: Post, shelf: Shelf
    ) -> None:
        told: list[str] = []

        def meanwhile(plaintext: str, act: Callable[[], object]) -> object:
            told.append(repeated(post).key.id)
            return act()

        shelf.plan(f"read {A}", lambda _, act: act(), meanwhile)
        assert ask(post, to_places(A)).key.id == told[0] == post.only_key().id


class TestRotation:
    @staticmethod
    def rotated(old: ApiKey) -> Mint:
        def mint(post: Post) -> Minted:
            key, places = Rotator(post.courier()).rotate(old.id, Terms(), once=ONCE)
            return Minted(key, delivered_to=places, replaces=old.id)

        return mint

    def test_the_successor_that_was_made_is_answered(self, post: Post) -> None:
        old = post.deliver(A, B)
        first = ask(post, self.rotated(old))
        again = repeated(post)
        assert (again.key.id, list(again.delivered_to), again.replaces) == (first.key.id, [A, B], old.id)
        assert len(post.all_keys()) == 2

    def test_of_two_at_the_same_moment_one_rotates(self, post: Post) -> None:
        old = post.deliver(A)

        def late(post: Post) -> Minted:
            ask(post.another(), self.rotated(old))
            return self.rotated(old)(post)

        assert ask(post, late).key.id == repeated(post).key.id
        assert [key.stored_state for key in post.all_keys()].count("active") == 1

    def test_a_successor_that_was_shown_is_to_be_rotated_in_turn(self, post: Post) -> None:
        old = post.deliver(A)

        def mint(post: Post) -> Minted:
            with writing(post.session):
                return Minted(*issue_successor(post.session, post.clock, SYSTEM, old.id, Terms(), ONCE))

        first = ask(post, mint)
        with pytest.raises(AlreadyCreated, match=f"rotate {first.key.id} in turn, with a new Idempotency-Key"):
            repeated(post)

    def test_a_successor_that_waits_for_its_client_is_to_be_deleted(self, post: Post) -> None:
        old = post.deliver(A)

        def mint(post: Post) -> Minted:
            with writing(post.session):
                return Minted(*rotate_for_client(post.session, post.clock, SYSTEM, old.id, Terms(), ONCE))

        first = ask(post, mint)
        with pytest.raises(AlreadyCreated, match=f"delete {first.key.id} and rotate again with a new Idempotency-Key"):
            repeated(post)

    def test_a_refused_one_may_be_asked_for_again(self, post: Post, shelf: Shelf) -> None:
        old = post.deliver(A)
        shelf.plan(f"write {A}", refuse)
        with pytest.raises(DeliveryFailed):
            ask(post, self.rotated(old))
        assert ask(post, self.rotated(old)).key.stored_state == "active"

    def test_one_that_was_cut_off_and_done_again_is_answered_with_what_came_of_it(
        self, post: Post, shelf: Shelf
    ) -> None:
        old = post.deliver(A, B)
        shelf.plan(f"write {B}", crash)
        with pytest.raises(Crash):
            ask(post.another(), self.rotated(old))
        post.clock.now += LEASE
        assert [str(found.verdict) for found in keep_house(post.courier())] == ["failed", "rotated"]
        again = repeated(post)
        assert (again.key.stored_state, list(again.delivered_to), again.replaces) == ("active", [A, B], old.id)

    def test_one_that_was_cut_off_is_done_again_by_who_asks_first(self, post: Post, shelf: Shelf) -> None:
        old = post.deliver(A, B)
        shelf.plan(f"write {B}", crash)
        with pytest.raises(Crash):
            ask(post.another(), self.rotated(old))
        with pytest.raises(InProgress):
            ask(post.another(), self.rotated(old))
        post.clock.now += LEASE
        new = ask(post.another(), self.rotated(old))
        keep_house(post.courier())
        assert repeated(post).key.id == new.key.id
        assert [key.stored_state for key in post.all_keys()].count("active") == 1


def test_no_plaintext_is_kept_for_it(post: Post) -> None:
    first = ask(post, shown)
    secret: Secret | None = first.secret
    assert secret is not None
    post.shelf.seen.add(secret.reveal())  # searched for in the database when the test is over
