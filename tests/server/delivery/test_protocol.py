"""The courier: a key works only once it is proven to be everywhere it was to be, and otherwise nothing has happened."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from mushu.environment import Environment
from mushu.secret import digest_of
from mushu.server.audit import SYSTEM
from mushu.server.db import writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.errors import (
    DeliveryFailed,
    DeliveryUndecided,
    DestinationHeld,
    MushuError,
)
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE
from mushu.testing.leaks import traces
from tests.conftest import TurnableClock
from tests.server.delivery.conftest import LEASE, Post
from tests.server.delivery.shelf import (
    Fault,
    Shelf,
    after,
    answer_no,
    before,
    fail,
    fine,
    leak_chained,
    leak_foreign,
    lie,
    lose_answer,
    refuse,
    stale,
)
from tests.server.verbs import issue_to

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]


def _overwritten(shelf: Shelf, *uris: str) -> None:
    for uri in uris:
        shelf.values[uri] = f"former of {uri}"


def _is_as_it_was(shelf: Shelf, *uris: str) -> bool:
    return all(shelf.values.get(uri) == f"former of {uri}" for uri in uris)


class TestSuccess:
    def test_it_works_and_after_it_another_to_another_place(self, post: Post, shelf: Shelf) -> None:
        request = KeyRequest(org_id=post.org_id, name="backend")
        key, places = issue_to(post.context(), request, ["fake:b", "fake:a/"])
        assert key.stored_state == "active"
        assert places == ["fake:b", "fake:a"]
        assert shelf.digest_at("fake:a") == shelf.digest_at("fake:b") == key.digest
        assert post.states(key.id) == ["verified", "verified"]
        assert post.pauses == []
        assert post.deliver("fake:c").id != key.id

    def test_nothing_is_minted_before_all_were_asked_and_nothing_active_before_all_were_read(
        self, post: Post, shelf: Shelf
    ) -> None:
        other, seen = post.another(), []
        look = shelf.on_call

        def watch(call: str) -> None:
            look(call)
            seen.append((call, *[key.stored_state for key in other.all_keys()]))

        shelf.on_call = watch
        post.deliver("fake:a", "fake:b")
        unminted = ["open fake:a", "open fake:b"]
        unminted += [f"{method} {uri}" for uri in ("fake:a", "fake:b") for method in ("preflight", "read")]
        pending = ["write fake:a", "write fake:b", "read fake:a", "read fake:b"]
        assert seen == [(call,) for call in unminted] + [(call, "pending") for call in pending]

    def test_the_ledger_says_when_and_at_which_version(self, post: Post, clock: TurnableClock, shelf: Shelf) -> None:
        shelf.plan("write fake:a", after(lambda: clock.turn(seconds=1)))
        shelf.plan("read fake:a", fine, after(lambda: clock.turn(seconds=2)))
        key = post.deliver("fake:a")
        (row,) = post.rows(key.id)
        assert (row.expected_version, row.version) == ("v0", "v1")
        assert row.delivered_at == row.created_at + timedelta(seconds=1)
        assert row.verified_at == row.created_at + timedelta(seconds=3)
        assert not row.cleanup_due


class TestWriting:
    @pytest.mark.parametrize("faults", [[fail], [fail, fail], [leak_foreign], [lose_answer, fail], [lose_answer] * 2])
    def test_what_passes_is_tried_again(self, post: Post, shelf: Shelf, faults: list[Fault]) -> None:
        shelf.plan("write fake:a", *faults)
        key = post.deliver("fake:a")
        assert key.stored_state == "active"
        assert post.pauses == [0.2, 0.8][: len(faults)]

    @pytest.mark.parametrize("faults", [[lose_answer] * 3, [fail, fail, lose_answer]])
    def test_a_write_that_was_never_answered_is_looked_for(self, post: Post, shelf: Shelf, faults: list[Fault]) -> None:
        shelf.plan("write fake:a", *faults)
        key = post.deliver("fake:a", "fake:b")
        assert key.stored_state == "active"

    @pytest.mark.parametrize(
        ("faults", "end"),
        [
            ([refuse], "What was written was put back"),
            ([leak_chained], "What was written was put back"),
            # What was not answered may have arrived, and is watched for.
            ([fail, refuse], "it opens nothing, and `flask keys reconcile` takes it away"),
            ([fail, fail, refuse], "it opens nothing, and `flask keys reconcile` takes it away"),
        ],
    )
    def test_a_refusal_fails_the_key_and_puts_the_others_back(
        self, post: Post, shelf: Shelf, faults: list[Fault], end: str
    ) -> None:
        _overwritten(shelf, "fake:a", "fake:b")
        shelf.plan("write fake:b", *faults)
        with pytest.raises(DeliveryFailed, match=rf"^fake:b: .* {end}\.$"):
            post.deliver("fake:a", "fake:b", "fake:c", force=True)
        assert _is_as_it_was(shelf, "fake:a", "fake:b")
        assert "fake:c" not in shelf.values
        assert shelf.did("write").count("fake:c") == 0
        assert post.only_key().stored_state == "failed"
        assert set(post.states(post.only_key().id)) == {"failed"}

    def test_the_key_is_dead_before_anything_is_put_back_in_the_opposite_order(self, post: Post, shelf: Shelf) -> None:
        seen: list[str] = []
        shelf.plan("write fake:c", refuse)
        for uri in ("fake:a", "fake:b"):
            shelf.plan(f"restore {uri}", before(lambda: seen.append(post.another().only_key().stored_state)))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", "fake:c")
        assert shelf.did("restore") == ["fake:b", "fake:a"]
        assert seen == ["failed", "failed"]
        assert shelf.values == {}

    def test_a_single_place_that_stays_unclear_is_kept_for_it_and_left_to_recovery(
        self, post: Post, shelf: Shelf
    ) -> None:
        shelf.plan("write fake:a", fail, fail, fail)
        with pytest.raises(DeliveryUndecided, match=r"not known whether key_\w+ arrived; it is not active") as caught:
            post.deliver("fake:a")
        assert "2026-01-15T10:31:00Z" in str(caught.value)
        assert post.only_key().stored_state == "pending"
        with pytest.raises(DestinationHeld, match="is being delivered to fake:a"):
            post.deliver("fake:a")
        assert post.verdicts() == ["under_way"]
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["failed"]
        assert post.deliver("fake:a").stored_state == "active"

    def test_and_recovery_finishes_it_if_it_did_arrive(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:a", lose_answer, fail, fail)
        shelf.plan("read fake:a", fine, fail)
        with pytest.raises(DeliveryUndecided):
            post.deliver("fake:a")
        assert post.verdicts() == ["activated"]
        assert post.only_key().stored_state == "active"

    def test_one_of_several_that_stays_unclear_is_given_up_and_what_arrives_there_later_swept_away(
        self, post: Post, shelf: Shelf
    ) -> None:
        _overwritten(shelf, "fake:a")
        shelf.plan("write fake:b", fail, fail, fail)
        with pytest.raises(DeliveryFailed, match="timed out"):
            post.deliver("fake:a", "fake:b", force=True)
        assert _is_as_it_was(shelf, "fake:a")
        assert post.only_key().stored_state == "failed"
        (late,) = shelf.seen
        shelf.put("test", "fake:b", late)
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values.keys() == {"fake:a"}

    @pytest.mark.parametrize("again", [False, True])
    def test_nothing_is_written_once_the_lease_is_over_nor_tried_again_then(
        self, post: Post, shelf: Shelf, again: bool
    ) -> None:
        def wait() -> None:
            post.clock.turn(seconds=60)

        shelf.plan("write fake:a", before(wait, fault=fail) if again else after(wait))
        uris, said = (
            (["fake:a"], "fake:a") if again else (["fake:a", "fake:b"], "fake:b: The time for this attempt was over")
        )
        with pytest.raises(DeliveryFailed, match=said):
            post.deliver(*uris)
        assert shelf.did("write") == ["fake:a"]
        assert shelf.values == {}

    def test_a_write_that_takes_longer_than_the_lease_still_counts_if_nobody_gave_it_up(
        self, post: Post, shelf: Shelf
    ) -> None:
        shelf.plan("write fake:a", after(lambda: post.clock.turn(hours=1)))
        assert post.deliver("fake:a").stored_state == "active"


class TestProof:
    def test_a_place_that_takes_the_key_and_loses_it_fails_it(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:b", lie)
        with pytest.raises(DeliveryFailed, match="fake:b: It does not hold the key after the write"):
            post.deliver("fake:a", "fake:b")
        assert shelf.values == {}
        assert post.only_key().stored_state == "failed"

    @pytest.mark.parametrize("faults", [[stale], [stale, stale], [fail], [stale, fail], [leak_foreign, fail]])
    def test_what_was_read_too_early_is_read_again(self, post: Post, shelf: Shelf, faults: list[Fault]) -> None:
        shelf.plan("read fake:a", fine, *faults)
        assert post.deliver("fake:a").stored_state == "active"
        assert post.pauses == [0.2, 0.8][: len(faults)]

    def test_a_place_that_shows_the_old_value_for_long_fails_the_key_and_gets_the_old_value_back(
        self, post: Post, shelf: Shelf
    ) -> None:
        _overwritten(shelf, "fake:a")
        shelf.plan("read fake:a", fine, stale, stale, stale)
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", force=True)
        assert _is_as_it_was(shelf, "fake:a")

    def test_where_even_that_is_not_seen_the_value_is_removed_later(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("read fake:a", fine, stale, stale, stale)
        shelf.plan("restore fake:a", answer_no)
        shelf.plan("remove fake:a", answer_no)
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a")
        assert shelf.digest_at("fake:a") == post.only_key().digest
        post.clock.turn(seconds=61)
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}

    def test_a_place_that_cannot_be_read_leaves_it_to_recovery(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("read fake:b", fine, refuse)
        with pytest.raises(DeliveryUndecided, match="fake:b: It refuses for good"):
            post.deliver("fake:a", "fake:b")
        key = post.only_key()
        assert key.stored_state == "pending"
        assert shelf.digest_at("fake:a") == shelf.digest_at("fake:b") == key.digest
        assert post.verdicts() == ["activated"]


class TestOthersAtWork:
    """Recovery, a delete or another delivery steps in between two steps of a courier."""

    @pytest.mark.parametrize("call", ["write fake:b", "read fake:a", "read fake:b"])
    def test_recovery_proves_it_a_moment_faster(self, post: Post, shelf: Shelf, call: str) -> None:
        other = post.another()
        shelf.plan(call, *([fine] if call.startswith("read") else []), after(other.reconcile))
        key = post.deliver("fake:a", "fake:b")
        assert other.only_key().stored_state == "active"
        assert key.stored_state == "active"
        assert shelf.did("restore") == shelf.did("remove") == []

    @pytest.mark.parametrize("state", ["active", "disabled"])
    def test_a_key_that_recovery_proved_is_not_taken_away_when_its_courier_comes_too_late(
        self, post: Post, shelf: Shelf, state: str
    ) -> None:
        """The write arrived, its answer did not, and the courier slept past its lease."""
        other = post.another()

        def meanwhile() -> None:
            other.clock.turn(seconds=61)
            assert other.verdicts() == ["activated"]
            if state == "disabled":
                key_id = other.only_key().id
                with writing(other.session):
                    change_state(other.session, other.clock, SYSTEM, key_id, DISABLE)

        shelf.plan("write fake:a", after(meanwhile, fault=fail))
        key = post.deliver("fake:a")
        assert key.stored_state == state
        assert shelf.digest_at("fake:a") == key.digest
        assert post.states(key.id) == ["verified"]

    def test_recovery_gives_it_up_before_a_late_write(self, post: Post, shelf: Shelf) -> None:
        other = post.another()
        _overwritten(shelf, "fake:a")

        def meanwhile() -> None:
            other.clock.turn(seconds=61)
            assert other.verdicts() == ["failed"]

        shelf.plan("write fake:a", before(meanwhile))
        with pytest.raises(DeliveryFailed, match="was given up while it was under way"):
            post.deliver("fake:a", force=True)
        assert _is_as_it_was(shelf, "fake:a")
        assert post.only_key().stored_state == "failed"

    @pytest.mark.parametrize("removed", [True, False])
    def test_and_a_late_write_that_cannot_be_put_back_is_removed_now_or_later(
        self, post: Post, shelf: Shelf, removed: bool
    ) -> None:
        other = post.another()
        shelf.plan("write fake:a", before(lambda: other.clock.turn(seconds=61), other.reconcile))
        shelf.plan("restore fake:a", refuse)
        if not removed:
            shelf.plan("remove fake:a", fine, refuse)  # the first is recovery's
        left = "fake:a" if removed else "could not look, or not take it away: fake:a: It refuses"
        with pytest.raises(DeliveryFailed, match=left):
            post.deliver("fake:a")
        assert shelf.did("remove")[-1] == "fake:a"
        if not removed:
            assert shelf.digest_at("fake:a") == post.only_key().digest
            assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}

    @pytest.mark.parametrize("call", ["write fake:a", "write fake:b", "read fake:a", "read fake:b"])
    @pytest.mark.parametrize("when", [before, after])
    def test_the_key_is_deleted_on_the_way(
        self, post: Post, shelf: Shelf, call: str, when: Callable[..., Fault]
    ) -> None:
        other = post.another()
        _overwritten(shelf, "fake:a", "fake:b")
        steps = [fine] if call.startswith("read") else []
        shelf.plan(call, *steps, when(lambda: other.delete(other.only_key().id)))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert post.only_key().stored_state == "revoked"
        assert _is_as_it_was(shelf, "fake:a", "fake:b")
        assert post.under_way("fake:a") is post.under_way("fake:b") is None

    @pytest.mark.parametrize("call", ["write fake:a", "read fake:a"])
    def test_the_organization_is_deleted_on_the_way(self, post: Post, shelf: Shelf, call: str) -> None:
        other = post.another()
        shelf.plan(call, *([fine] if call.startswith("read") else []), after(other.delete_org))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a")
        assert post.only_key().stored_state == "revoked"
        assert shelf.values == {}

    @pytest.mark.parametrize("seconds", [0, 50])
    def test_a_sweeper_does_not_take_away_what_is_being_put_back(self, post: Post, shelf: Shelf, seconds: int) -> None:
        """It would remove the dead key, and the courier could not find where to put the former value."""
        other = post.another()
        wait = partial(post.clock.turn, seconds=seconds)
        _overwritten(shelf, "fake:a")
        shelf.plan("write fake:b", before(wait, fault=refuse))
        shelf.plan("restore fake:a", before(wait, lambda: seen.extend(other.verdicts())))
        seen: list[str] = []
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert seen == ["under_way", "under_way"]
        assert _is_as_it_was(shelf, "fake:a")

    @pytest.mark.parametrize("force", [False, True])
    def test_nor_does_another_delivery_overwrite_it(self, post: Post, shelf: Shelf, force: bool) -> None:
        other = post.another()
        _overwritten(shelf, "fake:a")

        def intrude() -> None:
            with pytest.raises(DestinationHeld, match="is being delivered to fake:a"):
                other.deliver("fake:a", force=force)

        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", before(intrude))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert _is_as_it_was(shelf, "fake:a")


class TestPuttingBack:
    def test_what_passes_is_tried_again(self, post: Post, shelf: Shelf) -> None:
        _overwritten(shelf, "fake:a")
        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", fail, lose_answer)
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert _is_as_it_was(shelf, "fake:a")

    @pytest.mark.parametrize("fault", [refuse, leak_foreign, leak_chained])
    def test_what_cannot_be_put_back_is_removed(self, post: Post, shelf: Shelf, fault: Fault) -> None:
        shelf.plan("write fake:b", refuse)
        shelf.plan("restore fake:a", fault, fault, fault)
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b")
        assert shelf.values == {}

    def test_what_somebody_overwrote_meanwhile_is_theirs(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:b", before(lambda: shelf.put("test", "fake:a", "theirs"), fault=refuse))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b")
        assert shelf.values == {"fake:a": "theirs"}

    @pytest.mark.fault
    def test_where_nothing_was_written_nothing_is_said_to_be_left_or_put_back(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:a", before(lambda: shelf.unreachable.update(("fake:a", "fake:b")), fault=refuse))
        with pytest.raises(DeliveryFailed, match=r"not activated\. Nothing was written\.$"):
            post.deliver("fake:a", "fake:b")

    def test_a_place_that_went_away_is_cleaned_up_when_it_is_back(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("write fake:b", before(lambda: shelf.unreachable.add("fake:a"), fault=refuse))
        with pytest.raises(DeliveryFailed, match="could not look, or not take it away: fake:a: It does not answer"):
            post.deliver("fake:a", "fake:b")
        assert post.verdicts() == ["unreachable"]
        assert shelf.digest_at("fake:a") == post.only_key().digest
        shelf.unreachable.clear()
        assert post.verdicts() == ["cleaned_up"]
        assert shelf.values == {}
        assert post.deliver("fake:a", "fake:b").stored_state == "active"


class TestSecrecy:
    @pytest.mark.parametrize("leak", [leak_foreign, leak_chained])
    @pytest.mark.parametrize("method", ["preflight", "read", "write", "restore", "remove"])
    @pytest.mark.parametrize("uris", [["fake:a"], ["fake:a", "fake:b"]])
    def test_whatever_a_plugin_raises_nobody_sees_the_key(
        self,
        post: Post,
        shelf: Shelf,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        leak: Fault,
        method: str,
        uris: list[str],
    ) -> None:
        """The fixture looks into the database; here are the exceptions with all that hangs on them, and the logs."""
        caplog.set_level(logging.DEBUG)
        last = f"{method} {uris[-1]}"
        if method == "read":
            shelf.plan(last, fine)
        if method in ("restore", "remove"):
            shelf.plan(f"read {uris[-1]}", fine, stale, stale, stale)
        if method == "remove":
            shelf.plan(f"restore {uris[-1]}", answer_no)
        shelf.plan(last, leak, leak, leak, leak)
        shown = []
        try:
            post.deliver(*uris)
        except MushuError as error:
            shown += list(traces(error))
        post.clock.turn(seconds=61)
        shown += [repr(finding) for finding in post.reconcile()]
        shown += [caplog.text, *capfd.readouterr()]
        if method != "preflight":
            assert shelf.seen
        assert not [plaintext for plaintext in shelf.seen if any(plaintext in text for text in shown)]

    def test_an_error_of_the_database_shows_no_key_either(
        self, post: Post, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> bool:
            raise RuntimeError("disk full")

        monkeypatch.setattr(ledger, "delivered", broken)
        with pytest.raises(RuntimeError) as caught:
            post.deliver("fake:a")
        shown = list(traces(caught.value))
        (plaintext,) = shelf.seen
        assert not [text for text in shown if plaintext in text]
        monkeypatch.undo()
        assert post.verdicts() == ["activated"]


def test_a_delivery_is_recorded_with_its_digest_only(post: Post, shelf: Shelf) -> None:
    key = post.deliver("fake:a")
    (plaintext,) = shelf.seen
    assert key.digest == digest_of(plaintext)
    (row,) = post.rows(key.id)
    shown = {column.name: getattr(row, column.name) for column in Delivery.__table__.columns}
    assert plaintext not in repr(shown)
    assert row.lease_until < row.created_at + LEASE


class TestTheSameMoment:
    """Two have looked at one place before either of them mints."""

    def test_the_index_on_the_ledger_refuses_what_the_claim_let_through(self, post: Post) -> None:
        other = post.another()
        faster, slower = post.context().courier, other.context().courier
        targets = [courier.check(Environment.LIVE, ["fake:a"]) for courier in (faster, slower)]
        request = KeyRequest(org_id=post.org_id, name="backend")
        with writing(post.session):
            first, _ = mint_key(post.session, post.clock, SYSTEM, request)
            faster.register(first, targets[0])
        with pytest.raises(DestinationHeld, match="at this very moment"), writing(other.session):
            second, _ = mint_key(other.session, other.clock, SYSTEM, request)
            slower.register(second, targets[1])
        assert [key.id for key in post.all_keys()] == [first.id]

    @pytest.mark.postgresql
    def test_the_claim_holds_each_place_until_its_transaction_ends(self, post: Post) -> None:
        other, courier = post.another(), post.context().courier
        targets = courier.check(Environment.LIVE, ["fake:b", "fake:a"])

        def is_free(uri: str) -> bool:
            with writing(other.session):
                return bool(other.session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(uri, 0)))))

        with writing(post.session):
            courier.claim(Environment.LIVE, targets)
            assert [is_free(uri) for uri in ("fake:a", "fake:b", "fake:c")] == [False, False, True]
        assert is_free("fake:a")
