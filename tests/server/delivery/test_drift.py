"""Looking for drift: side by side, whatever a destination does, and without holding anything meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mushu.destination import Denied, Destination
from mushu.keyformat import public_id
from mushu.server.audit.service import SYSTEM
from mushu.server.db import reading, writing
from mushu.server.delivery import drift
from mushu.server.delivery.drift import SIDE_BY_SIDE, Inspector, Look, Scope
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.rotation import Rotator
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import crash, fail, leak_foreign, refuse

A, B, C = "fake:a", "fake:b", "fake:c"


def inspector(post: Post, open_destination: Callable[[str], Destination] | None = None) -> Inspector:
    return Inspector(post.session, post.clock, open_destination or post.shelf.open)


def looks(post: Post, scope: Scope = Scope()) -> dict[str, Look]:  # noqa: B008 - it is frozen
    return {look.uri: look for look in inspector(post).check(scope)}


def conditions(post: Post) -> dict[str, str]:
    return {uri: str(look.condition) for uri, look in looks(post).items()}


def deny(plaintext: str, act: Callable[[], Any]) -> Any:
    raise Denied("It lets nobody look.")


def test_every_condition_is_told_and_noted(post: Post) -> None:
    keys = {name: post.deliver(f"fake:{name}") for name in ("ok", "drifted", "missing", "unreachable", "denied")}
    post.shelf.values["fake:drifted"] = "theirs"
    del post.shelf.values["fake:missing"]
    post.shelf.unreachable.add("fake:unreachable")
    post.shelf.plan("read fake:denied", deny)
    post.clock.turn(hours=1)
    found = looks(post)
    assert {uri: str(look.condition) for uri, look in found.items()} == {f"fake:{name}": name for name in keys}
    for name, key in keys.items():
        look, (row,) = found[f"fake:{name}"], post.rows(key.id)
        assert (look.key_id, look.key_name) == (key.id, "backend")
        assert (row.condition, row.checked_at, row.error) == (name, post.clock(), look.detail or None)
        assert bool(look.detail) == (name != "ok")
        assert row.state == "verified"


def test_what_is_well_again_is_noted_as_such(post: Post) -> None:
    key = post.deliver(A)
    post.shelf.unreachable.add(A)
    assert conditions(post) == {A: "unreachable"}
    post.shelf.unreachable.clear()
    assert conditions(post) == {A: "ok"}
    (row,) = post.rows(key.id)
    assert (row.condition, row.error) == ("ok", None)


def test_nothing_is_written_to_a_destination(post: Post) -> None:
    post.deliver(A)
    post.shelf.values[A] = "theirs"
    before = len(post.shelf.calls)
    looks(post)
    assert post.shelf.calls[before:] == [f"read {A}"]


def test_destinations_are_read_side_by_side(post: Post) -> None:
    for number in range(SIDE_BY_SIDE):
        post.deliver(f"fake:{number}")
    together = threading.Barrier(SIDE_BY_SIDE, timeout=30)

    def meet(plaintext: str, act: Callable[[], Any]) -> Any:
        together.wait()  # is left only once all others are in it, too
        return act()

    for number in range(SIDE_BY_SIDE):
        post.shelf.plan(f"read fake:{number}", meet)
    assert set(conditions(post).values()) == {"ok"}
    assert not together.broken


@pytest.mark.parametrize("fault", [refuse, fail, leak_foreign, deny])
def test_one_that_raises_stops_none_of_the_others(post: Post, fault: Callable[..., Any]) -> None:
    for uri in (A, B, C):
        post.deliver(uri)
    post.shelf.plan(f"read {B}", fault)
    found = looks(post)
    expected = "denied" if fault is deny else "unreachable"
    assert [str(found[uri].condition) for uri in (A, B, C)] == ["ok", expected, "ok"]
    assert not [plaintext for plaintext in post.shelf.seen if plaintext in repr(found)]


def test_a_uri_that_cannot_be_opened_stops_none_of_the_others(post: Post) -> None:
    key = post.deliver(A)
    post.deliver(B)
    with writing(post.session):
        post.session.get_one(Delivery, post.rows(key.id)[0].id).uri = "gone:a"
    found = looks(post)
    assert {uri: str(look.condition) for uri, look in found.items()} == {"gone:a": "unreachable", B: "ok"}
    assert "No destination plugin" in found["gone:a"].detail


def test_one_that_cannot_be_opened_in_an_unforeseen_way_stops_none_of_the_others(post: Post) -> None:
    post.deliver(A)
    post.deliver(B)

    def open_destination(uri: str) -> Destination:
        if uri == A:
            raise ZeroDivisionError
        return post.shelf.open(uri)

    found = {look.uri: look for look in inspector(post, open_destination).check(Scope())}
    assert [str(found[uri].condition) for uri in (A, B)] == ["unreachable", "ok"]
    assert "ZeroDivisionError" in found[A].detail


def test_a_process_that_is_killed_notes_nothing_of_the_page(post: Post) -> None:
    key = post.deliver(A)
    post.shelf.plan(f"read {A}", crash)
    with pytest.raises(BaseException, match="") as raised:
        looks(post)
    assert raised.typename == "Crash"
    assert post.rows(key.id)[0].condition is None


def test_a_key_that_is_deleted_while_it_is_looked_at_is_not_said_to_be_there(post: Post) -> None:
    gone, stays = post.deliver(A), post.deliver(B)
    other = post.another()
    other.session = Session(post.engine, autobegin=False, expire_on_commit=False)

    def delete(plaintext: str, act: Callable[[], Any]) -> Any:
        answer = act()
        other.delete(gone.id)
        return answer

    post.shelf.plan(f"read {A}", delete)
    assert conditions(post) == {A: "ok", B: "ok"}
    assert post.states(gone.id) == ["removed"]
    assert post.rows(gone.id)[0].condition is None
    assert post.rows(stays.id)[0].condition == "ok"


def test_a_key_that_is_rotated_while_it_is_looked_at_keeps_its_line_as_it_became(post: Post) -> None:
    old = post.deliver(A)
    other = post.another()

    def rotate(plaintext: str, act: Callable[[], Any]) -> Any:
        Rotator(other.courier()).rotate(old.id, Terms())
        return act()

    post.shelf.plan(f"read {A}", rotate)
    looks(post)
    assert post.states(old.id) == ["replaced"]
    assert post.rows(old.id)[0].condition is None
    assert conditions(post) == {A: "ok"}


@pytest.mark.parametrize("page", [1, 2, 7, 8])
def test_a_long_ledger_is_looked_at_page_by_page_and_once(
    post: Post, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(drift, "_PAGE", page)
    uris = {f"fake:{number}" for number in range(7)}
    keys = [post.deliver(uri) for uri in sorted(uris)]
    post.shelf.values["fake:3"] = "theirs"
    found = list(inspector(post).check(Scope()))
    assert sorted(look.uri for look in found) == sorted(uris)
    assert [look.uri for look in found if look.condition != "ok"] == ["fake:3"]
    assert all(post.rows(key.id)[0].checked_at == post.clock() for key in keys)
    assert inspector(post).count(Scope()) == 7


def test_what_is_asked_for_is_looked_at_and_nothing_else(post: Post) -> None:
    first, _ = post.deliver(A), post.deliver(B)
    theirs = post.another()
    with writing(theirs.session):
        owner = create_user(theirs.session, post.clock, SYSTEM, f"{public_id('u')}@example.com")
        theirs.org_id = create_org(theirs.session, post.clock, SYSTEM, "other", owner.id).id
    theirs.deliver(C)
    for scope, uris in (
        (Scope(), {A, B, C}),
        (Scope(org_id=post.org_id), {A, B}),
        (Scope(org_id=theirs.org_id), {C}),
        (Scope(key_id=first.id), {A}),
        (Scope(key_id="key_nosuch"), set()),
    ):
        assert set(looks(post, scope)) == uris
        assert inspector(post).count(scope) == len(uris)


def test_what_is_dead_replaced_or_on_a_client_is_not_looked_at(post: Post) -> None:
    dead, old, client = post.deliver(A), post.deliver(B), post.deliver(C)
    post.delete(dead.id, keep_value=True)
    new = Rotator(post.courier()).rotate(old.id, Terms())[0]
    with writing(post.session):
        post.session.get_one(Delivery, post.rows(client.id)[0].id).on_client = True
    assert {look.key_id for look in looks(post).values()} == {new.id}


def test_a_retiring_key_that_lies_elsewhere_is_looked_at(post: Post) -> None:
    old = post.deliver(A)
    Rotator(post.courier()).rotate(old.id, Terms(), [B])
    with reading(post.session):
        assert post.session.get_one(ApiKey, old.id).stored_state == "retiring"
    assert conditions(post) == {A: "ok", B: "ok"}
