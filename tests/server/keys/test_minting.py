"""The mark of the request that minted a key: for how long it counts, and that it is borne by one key."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.errors import IdempotencyMismatch
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import KeyRequest, find_minted, mark_of, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE, FAIL
from mushu.server.lifecycle.delete import revoke_key
from tests.server.conftest import World
from tests.server.orgs.racing import open_session
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database

MARK = IdempotencyMark("a" * 64, "b" * 64)
OTHER = IdempotencyMark("a" * 64, "c" * 64)


@pytest.fixture
def org_id(world: World) -> str:
    return world.org().id


def mint(world: World, org_id: str, idempotency: IdempotencyMark | None = MARK) -> ApiKey:
    with writing(db.session):
        return mint_key(db.session, world.clock, SYSTEM, KeyRequest(org_id=org_id, name="k", idempotency=idempotency))[
            0
        ]


def found(idempotency: IdempotencyMark | None = MARK) -> str | None:
    with reading(db.session):
        key = find_minted(db.session, idempotency)
        return key.id if key is not None else None


def give_up(world: World, key_id: str, way: str) -> None:
    with writing(db.session):
        if way == "failed":
            change_state(db.session, world.clock, SYSTEM, key_id, FAIL)
        else:
            revoke_key(db.session, world.clock, SYSTEM, key_id)


def test_a_key_is_found_by_the_request_that_minted_it_and_by_no_other(world: World, org_id: str) -> None:
    assert found() is None
    key = mint(world, org_id)
    assert found() == key.id
    assert found(IdempotencyMark("d" * 64, "b" * 64)) is None
    assert found(None) is None


def test_another_request_under_the_same_mark_is_refused(world: World, org_id: str) -> None:
    mint(world, org_id)
    with pytest.raises(IdempotencyMismatch):
        found(OTHER)


def test_keys_without_a_mark_do_not_know_each_other(world: World, org_id: str) -> None:
    assert mint(world, org_id, None).id != mint(world, org_id, None).id


@pytest.mark.parametrize("way", ["failed", "deleted"])
def test_a_key_that_was_given_up_before_it_worked_does_not_count(world: World, org_id: str, way: str) -> None:
    first = mint(world, org_id)
    give_up(world, first.id, way)
    assert found() is None
    assert found(OTHER) is None, "nothing came of it, so anything may be asked for"
    second = mint(world, org_id, OTHER)
    assert found(OTHER) == second.id != first.id
    with reading(db.session):
        assert mark_of(db.session.get_one(ApiKey, first.id, populate_existing=True)) is None
        assert mark_of(second) == OTHER


def test_a_key_that_has_worked_counts_whatever_becomes_of_it(world: World, org_id: str) -> None:
    key = mint(world, org_id)
    with writing(db.session):
        activate(db.session, world.clock, SYSTEM, key.id)
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, key.id, DISABLE)
    assert found() == key.id
    with writing(db.session):
        revoke_key(db.session, world.clock, SYSTEM, key.id)
    assert found() == key.id
    with pytest.raises(IntegrityError):
        mint(world, org_id)


@pytest.mark.parametrize("first_is_active", [False, True])
def test_a_second_key_with_the_mark_of_a_first_is_refused_by_the_database(
    world: World, org_id: str, first_is_active: bool
) -> None:
    key = mint(world, org_id)
    if first_is_active:
        with writing(db.session):
            activate(db.session, world.clock, SYSTEM, key.id)
    with pytest.raises(IntegrityError):
        mint(world, org_id)
    with reading(db.session):
        assert db.session.scalars(select(ApiKey.id)).all() == [key.id]


def test_a_successor_bears_the_mark_of_the_rotation(world: World, org_id: str) -> None:
    old, _ = world.key(world.org())
    with writing(db.session):
        new, _ = begin(db.session, world.clock, SYSTEM, old.id, Terms(), MARK)
    assert found() == new.id


def test_of_many_that_mint_at_once_one_does(world: World, org_id: str) -> None:
    """Also where the mark is that of a key that was given up, which all of them try to take over."""
    give_up(world, mint(world, org_id).id, "failed")
    engine, start = db.engine, Barrier(4)
    request = KeyRequest(org_id=org_id, name="k", idempotency=MARK)

    def attempt(_: int) -> str:
        with open_session(engine) as session:
            start.wait()
            try:
                with writing(session):
                    issue_key(session, world.clock, SYSTEM, request)
            except IntegrityError:
                return "refused"
        return "minted"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == ["minted", "refused", "refused", "refused"]
    with reading(db.session):
        (active,) = db.session.scalars(select(ApiKey.id).where(ApiKey.activated_at.is_not(None))).all()
    assert found() == active
