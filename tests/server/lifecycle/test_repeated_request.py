"""One key for each Idempotency-Key, whatever became of the request that asked first."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from mushu.secret import Secret
from mushu.server.audit import AuditEvent
from mushu.server.db import reading
from mushu.server.errors import (
    AlreadyCreated,
    DeliveryFailed,
    DeliveryUndecided,
    DestinationHeld,
    IdempotencyMismatch,
    InProgress,
)
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle import issue as issuing
from mushu.server.lifecycle import rotate as rotating
from mushu.server.lifecycle.confirm import CONFIRM_WITHIN, Proof, confirm
from mushu.server.lifecycle.context import Context, DeliveryChoice, Minted
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.lifecycle.repeated_request import find_earlier
from tests.server.delivery.conftest import LEASE, LONG_AFTER, Post
from tests.server.delivery.shelf import Crash, Shelf, crash, crash_after, fail, lose_answer, refuse
from tests.server.statements import statements
from tests.server.verbs import BY_CLIENT, SHOWN, by_server

pytestmark = pytest.mark.database

MARK = IdempotencyMark("a" * 64, "b" * 64)
A, B = "fake:a", "fake:b"

Mint = Callable[[Post], Minted]
Overtake = Callable[[Callable[[], object]], None]


def request(post: Post) -> KeyRequest:
    return KeyRequest(org_id=post.org_id, name="backend", idempotency=MARK)


def to_places(*uris: str) -> Mint:
    """Return what has the server deliver a new key."""

    return lambda post: issuing.issue(post.context(), request(post), by_server(*uris))


def shown(post: Post) -> Minted:
    return issuing.issue(post.context(), request(post), SHOWN)


def by_client(post: Post) -> Minted:
    return issuing.issue(post.context(), request(post), BY_CLIENT)


def rotated(old: ApiKey, choice: DeliveryChoice | None = None) -> Mint:
    """Return what rotates a key."""
    order = RotationRequest(key_id=old.id, terms=Terms(), idempotency=MARK)
    return lambda post: rotating.rotate(post.context(), order, choice or by_server())


def repeated(post: Post) -> Minted:
    """Ask again, from a process that must not mint."""
    earlier = find_earlier(post.another().context(), MARK)
    assert earlier is not None, "it would be minted again"
    return earlier


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something when the next request has looked for an earlier one, and found none."""

    def when_it_found_none(act: Callable[[], object]) -> None:
        def looked(context: Context, mark: IdempotencyMark | None) -> Minted | None:
            assert find_earlier(context, mark) is None
            monkeypatch.undo()
            act()
            return None

        for verb in (issuing, rotating):
            monkeypatch.setattr(verb, "find_earlier", looked)

    return when_it_found_none


def actions(post: Post) -> list[str]:
    with reading(post.session):
        return list(post.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


class TestAfterASuccess:
    def test_what_the_server_delivered_is_answered_again_and_another_request_is_refused(
        self, post: Post, shelf: Shelf
    ) -> None:
        first = to_places(A, B)(post)
        done, told = len(shelf.calls), actions(post)
        again = repeated(post)
        assert (again.key.id, again.secret, list(again.delivered_to)) == (first.key.id, None, [A, B])
        with pytest.raises(IdempotencyMismatch):
            find_earlier(post.context(), replace(MARK, request_digest="c" * 64))
        assert len(shelf.calls) == done
        assert actions(post) == told
        assert len(post.all_keys()) == 1

    @pytest.mark.parametrize("mint", [shown, by_client])
    def test_a_key_that_was_in_the_answer_is_not_shown_again_nor_when_its_client_has_proven_it(
        self, post: Post, mint: Mint
    ) -> None:
        first = mint(post)
        assert first.secret is not None
        with pytest.raises(AlreadyCreated) as caught:
            repeated(post)
        assert caught.value.key_id == first.key.id
        assert f"delete {first.key.id} and create another with a new Idempotency-Key" in str(caught.value)
        if mint is by_client:
            confirm(post.context(), first.key.id, [Proof("env:/home/ada/.env#KEY", first.key.digest)])
            with pytest.raises(AlreadyCreated):
                repeated(post)
        assert len(post.all_keys()) == 1

    @pytest.mark.parametrize("mint", [to_places(A), shown])
    def test_a_key_that_was_deleted_since_is_not_minted_again(self, post: Post, mint: Mint) -> None:
        first = mint(post)
        post.delete(first.key.id)
        with pytest.raises(AlreadyCreated, match=f"{first.key.id} was created by this request before, and is over"):
            repeated(post)

    def test_without_a_mark_every_request_mints(self, post: Post) -> None:
        assert post.deliver(A).id != post.deliver(A, force=True).id


class TestAfterAFailure:
    def test_nothing_minted_is_nothing_done_and_a_foreign_value_is_told_as_ever(self, post: Post, shelf: Shelf) -> None:
        shelf.plan(f"preflight {A}", refuse)
        with pytest.raises(DeliveryFailed, match="Nothing was minted"):
            to_places(A)(post)
        shelf.values[A] = "foreign"
        with pytest.raises(DestinationHeld, match="did not put there"):
            to_places(A)(post)
        del shelf.values[A]
        assert to_places(A)(post).key.stored_state == "active"

    def test_a_refused_delivery_may_be_asked_for_again(self, post: Post, shelf: Shelf) -> None:
        shelf.plan(f"write {A}", refuse)
        with pytest.raises(DeliveryFailed):
            to_places(A)(post)
        first = post.only_key()
        second = to_places(A)(post)
        assert second.key.id != first.id
        assert repeated(post).key.id == second.key.id
        assert sorted(key.stored_state for key in post.all_keys()) == ["active", "failed"]

    @pytest.mark.parametrize("kept_house", [False, True])
    def test_what_no_client_proved_in_time_may_be_asked_for_again(self, post: Post, kept_house: bool) -> None:
        first = by_client(post)
        post.clock.now += CONFIRM_WITHIN
        if kept_house:
            keep_house(post.context())
        second = by_client(post.another())
        assert second.secret is not None
        assert post.state(first.key.id) == "failed"
        assert post.state(second.key.id) == "pending"

    def test_a_pending_key_that_was_deleted_may_be_asked_for_again(self, post: Post) -> None:
        first = by_client(post)
        post.delete(first.key.id)
        assert by_client(post).key.id != first.key.id


class TestAfterACrash:
    """The process of the first request died between T1 and T4."""

    @pytest.fixture
    def cut_off(self, post: Post, shelf: Shelf) -> Callable[..., ApiKey]:
        def begin(call: str, fault: Callable[..., object] = crash, *uris: str) -> ApiKey:
            shelf.plan(call, *([lambda _, act: act()] if call.startswith("read") else []), fault)
            with pytest.raises(Crash):
                to_places(*(uris or (A,)))(post.another())
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

    @pytest.mark.parametrize("reconciled", [False, True])
    def test_once_the_lease_is_over_it_mints_afresh(
        self, post: Post, cut_off: Callable[..., ApiKey], reconciled: bool
    ) -> None:
        key = cut_off(f"write {A}")
        post.clock.now += LEASE
        if reconciled:
            assert post.verdicts() == ["failed"]
        again = to_places(A)(post.another())
        assert again.key.id != key.id
        assert post.state(key.id) == "failed"
        assert post.state(again.key.id) == "active"

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
            to_places(A)(post)
        assert caught.value.key_id is None, "the first answer, as ever"
        assert repeated(post).key.id == post.only_key().id


def test_who_looks_locks_the_key_first_as_who_delivers_does(post: Post, shelf: Shelf) -> None:
    """Both may activate it at the same moment; on PostgreSQL they would else wait for each other."""
    shelf.plan(f"read {A}", lambda _, act: act(), crash)
    with pytest.raises(Crash):
        to_places(A)(post.another())
    with statements(post.engine) as asked:
        repeated(post)
    updated = [statement.split()[1] for statement in asked if statement.startswith("UPDATE")]
    assert updated == ["api_keys", "deliveries"]


class TestAtTheSameMoment:
    """The other request gets its turn when this one has looked and found nothing."""

    @pytest.mark.parametrize("mint", [shown, by_client])
    def test_the_slower_finds_the_key_of_the_faster(self, post: Post, mint: Mint, overtake: Overtake) -> None:
        overtake(lambda: mint(post.another()))
        with pytest.raises(AlreadyCreated) as caught:
            mint(post)
        assert caught.value.key_id == post.only_key().id

    def test_so_it_does_where_both_deliver(self, post: Post, overtake: Overtake) -> None:
        overtake(lambda: to_places(A)(post.another()))
        assert to_places(A)(post).key.id == post.only_key().id

    def test_and_where_the_faster_comes_when_the_slower_has_looked_at_the_destination(
        self, post: Post, shelf: Shelf
    ) -> None:
        def overtaken(plaintext: str, act: Callable[[], object]) -> object:
            holding = act()
            to_places(A)(post.another())
            return holding

        shelf.plan(f"read {A}", overtaken)
        assert to_places(A)(post).key.id == post.only_key().id

    def test_while_the_faster_writes_the_slower_is_told_to_wait(self, post: Post, shelf: Shelf) -> None:
        told: list[InProgress] = []

        def meanwhile(plaintext: str, act: Callable[[], object]) -> object:
            with pytest.raises(InProgress) as caught:
                to_places(A)(post.another())
            told.append(caught.value)
            return act()

        shelf.plan(f"write {A}", meanwhile)
        first = to_places(A)(post)
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
        assert to_places(A)(post).key.id == told[0] == post.only_key().id


class TestRotation:
    def test_the_successor_that_was_made_is_answered(self, post: Post) -> None:
        old = post.deliver(A, B)
        first = rotated(old)(post)
        again = repeated(post)
        assert (again.key.id, list(again.delivered_to), again.replaces) == (first.key.id, [A, B], old.id)
        assert len(post.all_keys()) == 2

    def test_of_two_at_the_same_moment_one_rotates(self, post: Post, overtake: Overtake) -> None:
        old = post.deliver(A)
        overtake(lambda: rotated(old)(post.another()))
        assert rotated(old)(post).key.id == repeated(post).key.id
        assert [key.stored_state for key in post.all_keys()].count("active") == 1

    @pytest.mark.parametrize(
        ("choice", "way_out"),
        [(SHOWN, "rotate {} in turn, with a new"), (BY_CLIENT, "delete {} and rotate again with a new")],
    )
    def test_what_to_do_with_a_successor_that_was_in_the_answer_is_told(
        self, post: Post, choice: DeliveryChoice, way_out: str
    ) -> None:
        first = rotated(post.deliver(A), choice)(post)
        with pytest.raises(AlreadyCreated, match=f"{way_out.format(first.key.id)} Idempotency-Key"):
            repeated(post)

    def test_a_refused_one_may_be_asked_for_again(self, post: Post, shelf: Shelf) -> None:
        old = post.deliver(A)
        shelf.plan(f"write {A}", refuse)
        with pytest.raises(DeliveryFailed):
            rotated(old)(post)
        assert rotated(old)(post).key.stored_state == "active"

    @pytest.fixture
    def cut_off(self, post: Post, shelf: Shelf) -> ApiKey:
        """Return a key whose rotation was cut off at the second of its places."""
        old = post.deliver(A, B)
        shelf.plan(f"write {B}", crash)
        with pytest.raises(Crash):
            rotated(old)(post.another())
        return old

    def test_one_that_was_cut_off_and_done_again_is_answered_with_what_came_of_it(
        self, post: Post, cut_off: ApiKey
    ) -> None:
        post.clock.now += LEASE
        assert [str(found.verdict) for found in keep_house(post.context())] == ["failed", "rotated"]
        again = repeated(post)
        assert (again.key.stored_state, list(again.delivered_to), again.replaces) == ("active", [A, B], cut_off.id)

    def test_one_that_was_cut_off_is_done_again_by_who_asks_first(self, post: Post, cut_off: ApiKey) -> None:
        with pytest.raises(InProgress):
            rotated(cut_off)(post.another())
        post.clock.now += LEASE
        new = rotated(cut_off)(post.another())
        keep_house(post.context())
        assert repeated(post).key.id == new.key.id
        assert [key.stored_state for key in post.all_keys()].count("active") == 1


def test_no_plaintext_is_kept_for_it(post: Post) -> None:
    first = shown(post)
    secret: Secret | None = first.secret
    assert secret is not None
    post.shelf.seen.add(secret.reveal())  # searched for in the database when the test is over
