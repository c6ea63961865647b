"""Drift: every destination is looked at, whatever one of them does, and nothing is changed but the ledger."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mushu.destination import Denied, Destination, DestinationError
from mushu.destination.registry import OpenDestination
from mushu.server.audit import SYSTEM
from mushu.server.db import writing
from mushu.server.delivery.drift import AT_ONCE, DriftChecker, DriftResult, KeyFilter
from mushu.server.delivery.models import Condition
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE, ENABLE, RETIRE, State
from mushu.server.lifecycle.confirm import Proof, confirm
from mushu.server.lifecycle.issue import issue
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import Crash, Shelf, before, crash, fail, fine, leak_foreign
from tests.server.verbs import BY_CLIENT, issue_to, succeed

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

A, B, C = "fake:a", "fake:b", "fake:c"
#: Seconds to wait for what must happen; a machine that is busy may need some of them.
_LONG = 60


@pytest.fixture(autouse=True)
def _one_look_at_the_lock_at_a_time(post: Post, shelf: Shelf) -> None:
    """The shelf looks at each call whether the database is free; from several threads it would find itself there."""
    is_free, lock = shelf.on_call, threading.Lock()

    def look(call: str) -> None:
        with lock:
            is_free(call)

    shelf.on_call = look


@pytest.fixture
def busy(shelf: Shelf) -> None:
    """Others are at work in the database meanwhile, each time that they are let in."""
    shelf.on_call = lambda _: None


def checker(post: Post, patience: float = _LONG, opened: OpenDestination | None = None) -> DriftChecker:
    return DriftChecker(post.session, post.clock, opened or post.shelf.open, patience)


def looks(post: Post, scope: KeyFilter | None = None, patience: float = _LONG) -> list[DriftResult]:
    return list(checker(post, patience).check(scope or KeyFilter()))


def conditions(post: Post, scope: KeyFilter | None = None, patience: float = _LONG) -> dict[str, str]:
    found = looks(post, scope, patience)
    assert len({look.uri for look in found}) == len(found) == checker(post).count(scope or KeyFilter())
    return {look.uri: str(look.condition) for look in found}


def deny(_: str, __: Callable[[], Any]) -> Any:
    raise Denied("It does not let Mushu look.")


def raising(error: BaseException) -> Callable[[str, Callable[[], Any]], Any]:
    def fault(_: str, __: Callable[[], Any]) -> Any:
        raise error

    return fault


def answering(answer: object) -> Callable[[str, Callable[[], Any]], Any]:
    return lambda _, __: answer


class TestWhatIsFound:
    def test_it_works(self, post: Post) -> None:
        keys = [post.deliver(A, B), post.deliver(C)]
        before = dict(post.shelf.values)
        assert conditions(post) == {A: "ok", B: "ok", C: "ok"}
        assert post.shelf.values == before
        for key in keys:
            for row in post.rows(key.id):
                assert (row.condition, row.checked_at, row.error) == ("ok", post.clock(), None)

    def test_each_condition_is_told_and_noted(self, post: Post) -> None:
        uris = {f"fake:{condition}": condition for condition in Condition}
        keys = {uri: post.deliver(uri) for uri in uris}
        post.shelf.put("hand", "fake:drifted", "theirs")
        post.shelf.put("hand", "fake:missing", None)
        post.shelf.plan("read fake:unreachable", fail)
        post.shelf.plan("read fake:denied", deny)
        found = {look.uri: look for look in looks(post)}
        assert {uri: look.condition for uri, look in found.items()} == uris
        for uri, condition in uris.items():
            (row,) = post.rows(keys[uri].id)
            assert (row.condition, row.state) == (condition, "verified")
            assert row.error == (found[uri].detail or None)
            assert (found[uri].key_id, found[uri].key_name) == (keys[uri].id, "backend")
            assert bool(found[uri].detail) is (condition is not Condition.OK)
            assert "flask" not in found[uri].detail, "the ledger is shown over HTTP, where nobody has that command"

    def test_another_key_of_mushu_is_drift_too_and_what_was_mended_is_noted_as_well(self, post: Post) -> None:
        key, _ = post.deliver(A), post.deliver(B)
        value = post.shelf.values[A]
        post.shelf.put("hand", A, post.shelf.values[B])
        assert conditions(post) == {A: "drifted", B: "ok"}
        post.shelf.put("hand", A, value)
        post.clock.turn(minutes=1)
        assert conditions(post) == {A: "ok", B: "ok"}
        (row,) = post.rows(key.id)
        assert (row.condition, row.error, row.checked_at) == ("ok", None, post.clock())

    def test_rotating_repairs_it_and_then_the_successor_is_looked_for(self, post: Post) -> None:
        old = post.deliver(A)
        post.shelf.put("hand", A, None)
        assert conditions(post) == {A: "missing"}
        new, _ = succeed(post.context(), old.id, Terms())
        assert [(look.uri, look.key_id, look.condition) for look in looks(post)] == [(A, new.id, "ok")]


class TestWhatIsLookedAt:
    def test_a_retiring_key_is_where_its_successor_did_not_go(self, post: Post) -> None:
        old = post.deliver(A)
        succeed(post.context(), old.id, Terms(), [B])
        assert conditions(post) == {A: "ok", B: "ok"}

    def test_the_state_of_a_living_key_is_told_for_on_it_depends_what_can_be_done(self, post: Post) -> None:
        key = post.deliver(A)
        assert looks(post)[0].key_state == State.ACTIVE
        for change, state in ((DISABLE, State.DISABLED), (ENABLE, State.ACTIVE), (RETIRE, State.RETIRING)):
            with writing(post.session):
                change_state(post.session, post.clock, SYSTEM, key.id, change)
            assert conditions(post) == {A: "ok"}
            assert looks(post)[0].key_state == state

    def test_dead_and_pending_keys_and_those_of_clients_are_not(self, post: Post) -> None:
        post.delete(post.deliver(A).id, keep_value=True)
        post.shelf.plan(f"write {B}", crash)
        with pytest.raises(Crash):
            post.deliver(B)
        key = issue(post.context(), KeyRequest(org_id=post.org_id, name="by a client"), BY_CLIENT).key
        confirm(post.context(), key.id, [Proof("env:/home/ada/.env#K", key.digest)])
        calls = len(post.shelf.calls)
        assert conditions(post) == {}
        assert len(post.shelf.calls) == calls

    def test_one_key_or_one_organization_can_be_meant(self, post: Post) -> None:
        mine, theirs = post.deliver(A), self.elsewhere(post, B)
        also_mine = post.deliver(C)
        assert conditions(post, KeyFilter(org_id=post.org_id)) == {A: "ok", C: "ok"}
        assert conditions(post, KeyFilter(org_id=theirs.org_id)) == {B: "ok"}
        assert conditions(post, KeyFilter(key_id=mine.id)) == {A: "ok"}
        assert conditions(post, KeyFilter(org_id=theirs.org_id, key_id=also_mine.id)) == {}
        assert conditions(post, KeyFilter(org_id="org_nosuch")) == {}

    def elsewhere(self, post: Post, uri: str) -> ApiKey:
        with writing(post.session):
            owner = create_user(post.session, post.clock, SYSTEM, "bob@example.com")
            org_id = create_org(post.session, post.clock, SYSTEM, "other", owner.id).id
        return issue_to(post.context(), KeyRequest(org_id=org_id, name="theirs"), [uri])[0]


class TestSideBySide:
    def test_as_many_reads_overlap_as_are_said_to(self, post: Post) -> None:
        uris = [f"fake:{number}" for number in range(AT_ONCE)]
        post.deliver(*uris)
        together = threading.Barrier(AT_ONCE)  # passed only if all of them are in it at one moment
        for uri in uris:
            post.shelf.plan(f"read {uri}", before(lambda: together.wait(_LONG)))
        assert set(conditions(post).values()) == {"ok"}

    def test_and_never_more(self, post: Post) -> None:
        uris = [f"fake:{number}" for number in range(3 * AT_ONCE)]
        for start in range(0, len(uris), AT_ONCE):
            post.deliver(*uris[start : start + AT_ONCE])
        lock, inside, most = threading.Lock(), [0], [0]

        def count(_: str, act: Callable[[], Any]) -> Any:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            try:
                return act()
            finally:
                with lock:
                    inside[0] -= 1

        for uri in uris:
            post.shelf.plan(f"read {uri}", count)
        assert set(conditions(post).values()) == {"ok"}
        assert 1 <= most[0] <= AT_ONCE

    def test_those_that_hang_hold_up_no_other_however_many_they_are(self, post: Post) -> None:
        hanging = [f"fake:hanging{number}" for number in range(AT_ONCE + 1)]
        post.deliver(*hanging)
        post.deliver(A, B, C)
        released = threading.Event()
        for uri in hanging:
            post.shelf.plan(f"read {uri}", before(lambda: released.wait(_LONG)))
        try:
            found = conditions(post, patience=1)
        finally:
            released.set()
        assert found == dict.fromkeys(hanging, "unreachable") | {A: "ok", B: "ok", C: "ok"}

    def test_a_thread_that_hangs_does_not_outlive_the_process(self, post: Post) -> None:
        post.deliver(A)
        released, hung = threading.Event(), []

        def hang() -> None:
            hung.append(threading.current_thread())
            released.wait(_LONG)

        post.shelf.plan(f"read {A}", before(hang))
        try:
            assert conditions(post, patience=0.1) == {A: "unreachable"}
            assert [thread.daemon for thread in hung] == [True]
        finally:
            released.set()


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        "fault",
        [
            raising(ValueError("broken")),
            raising(MemoryError()),
            raising(RecursionError()),
            raising(SystemExit(1)),
            raising(KeyboardInterrupt()),
            raising(GeneratorExit()),
            raising(Crash()),
            answering(None),
            answering("msk_live_"),
            leak_foreign,
        ],
    )
    def test_whatever_a_plugin_does_the_others_are_looked_at(
        self, post: Post, fault: Callable[[str, Callable[[], Any]], Any]
    ) -> None:
        post.deliver(A, B, C)
        plaintext = post.shelf.values[B]
        post.shelf.plan(f"read {B}", fault)
        found = {look.uri: look for look in looks(post)}
        assert {uri: str(look.condition) for uri, look in found.items()} == {A: "ok", B: "unreachable", C: "ok"}
        assert found[B].detail.endswith(".")
        assert plaintext not in found[B].detail

    def test_a_plugin_that_cannot_be_opened_is_told_by_its_reason(self, post: Post) -> None:
        post.deliver(A, B, C)

        def opened(uri: str) -> Destination:
            if uri == A:
                raise DestinationError("No destination plugin takes this URI.", permanent=True)
            if uri == B:
                raise ImportError("hvac")
            return post.shelf.open(uri)

        found = {look.uri: look for look in checker(post, opened=opened).check(KeyFilter())}
        assert {uri: str(look.condition) for uri, look in found.items()} == {
            A: "unreachable", B: "unreachable", C: "ok",
        }  # fmt: skip
        assert found[A].detail == "No destination plugin takes this URI."
        assert "ImportError" in found[B].detail

    @pytest.mark.usefixtures("busy")
    def test_no_transaction_is_held_while_destinations_are_read(self, post: Post) -> None:
        post.deliver(A, B)
        other = post.another()
        post.shelf.plan(f"read {A}", before(lambda: other.deliver(C)))
        assert {str(look.condition) for look in looks(post)} == {"ok"}  # the new one may be among them
        assert sorted(conditions(post)) == [A, B, C]

    @pytest.mark.usefixtures("busy")
    @pytest.mark.parametrize("keep_value", [True, False])
    def test_a_key_that_is_deleted_meanwhile_is_left_as_that_left_it(self, post: Post, keep_value: bool) -> None:
        gone, stays = post.deliver(A), post.deliver(B)
        other = post.another()
        post.shelf.plan(f"read {A}", before(lambda: other.delete(gone.id, keep_value=keep_value)))
        looks(post)
        assert post.state(gone.id) == "revoked"
        if not keep_value:
            assert [(row.state, row.condition) for row in post.rows(gone.id)] == [("removed", None)]
        assert [row.condition for row in post.rows(stays.id)] == ["ok"]
        assert conditions(post) == {B: "ok"}

    @pytest.mark.usefixtures("busy")
    def test_a_key_that_is_rotated_meanwhile_is_not_said_to_have_drifted(self, post: Post) -> None:
        old, other = post.deliver(A), post.another()
        post.shelf.plan(f"read {A}", before(lambda: succeed(other.context(), old.id, Terms())), *[fine] * 9)
        looks(post)
        assert [(row.state, row.condition, row.error) for row in post.rows(old.id)] == [("replaced", None, None)]
        assert conditions(post) == {A: "ok"}

    def test_whoever_stops_listening_leaves_nothing_open(self, post: Post) -> None:
        post.deliver(A, B, C)
        for look in checker(post).check(KeyFilter()):
            assert look.condition is Condition.OK
            break
        assert conditions(post) == {A: "ok", B: "ok", C: "ok"}


class TestLongLedgers:
    @pytest.mark.parametrize("page", [1, 2, 3, 9, 10, 11])
    def test_pages_of_any_size_show_each_destination_once_and_in_its_order(
        self, post: Post, monkeypatch: pytest.MonkeyPatch, page: int
    ) -> None:
        monkeypatch.setattr("mushu.server.delivery.drift._PAGE", page)
        for number in range(5):
            post.deliver(f"fake:{number}", f"fake:{number}-again")
        in_order = sorted((row.id, row.uri) for key in post.all_keys() for row in post.rows(key.id))
        found = looks(post)
        assert [look.uri for look in found] == [uri for _, uri in in_order]
        assert {look.condition for look in found} == {Condition.OK}

    def test_what_was_seen_is_noted_page_by_page(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mushu.server.delivery.drift._PAGE", 2)
        key = post.deliver(A, B, C)
        check = checker(post).check(KeyFilter())
        next(check)
        assert [row.condition for row in sorted(post.rows(key.id), key=lambda row: row.id)] == ["ok", "ok", None]
