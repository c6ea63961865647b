"""Minting, naming and listing keys."""

from datetime import timedelta
from itertools import pairwise, product

import pytest
from sqlalchemy import select, text

from mushu import keyformat
from mushu.environment import Environment
from mushu.keyformat import Prefix
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db, reader_in
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.errors import Invalid, KeyNotFound
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.service import (
    get_key_of,
    iterate_keys,
    list_keys,
    read_moving_keys,
    read_moving_of_many,
    rename_key,
)
from mushu.server.keys.states import State
from mushu.server.paging import Window
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database


def test_a_minted_key_is_pending_and_only_its_digest_is_kept(world: World) -> None:
    org = world.org()
    with writing(db.session):
        key, secret = mint_key(db.session, world.clock, SYSTEM, KeyRequest(org_id=org.id, name=" backend "))
    assert key.stored_state == State.PENDING
    assert (key.name, key.scope_names, key.environment) == ("backend", "read,write", "live")
    assert secret.matches(key.digest)
    assert key.hint == f"msk_live_…{secret.reveal()[-4:]}"
    with reading(db.session):
        stored = str(db.session.execute(text("SELECT * FROM api_keys")).all())
        audit = str(db.session.execute(text("SELECT * FROM audit_events")).all())
    assert secret.reveal()[9:31] not in stored + audit


@pytest.mark.parametrize(("environment", "prefix"), [("live", Prefix.LIVE_KEY), ("test", Prefix.TEST_KEY)])
def test_the_prefix_tells_the_environment(world: World, environment: str, prefix: Prefix) -> None:
    _, plaintext = world.key(world.org(), environment=Environment(environment))
    assert keyformat.parse(plaintext) is prefix


def test_a_key_without_expiry_never_expires(world: World, clock: TurnableClock) -> None:
    key, _ = world.key(world.org())
    clock.turn(days=36_000)
    assert key.state(clock()) is State.ACTIVE


def test_a_key_is_expired_from_the_very_moment_that_was_named(world: World, clock: TurnableClock) -> None:
    key, _ = world.key(world.org(), lives_seconds=60)
    clock.turn(seconds=59.999)
    assert key.state(clock()) is State.ACTIVE
    clock.turn(seconds=0.001)
    assert key.state(clock()) is State.EXPIRED


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(seconds=-1), timedelta(days=36_526)])
def test_an_expiry_that_lies_back_or_beyond_a_century_is_refused(world: World, offset: timedelta) -> None:
    org = world.org()
    request = KeyRequest(org_id=org.id, name="k", expires_at=world.clock() + offset)
    with pytest.raises(Invalid), writing(db.session):
        issue_key(db.session, world.clock, SYSTEM, request)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\nb", "a\x1b[31m", "a\x00", "a\u202eb"])
def test_a_name_that_would_mislead_on_a_terminal_is_refused(world: World, name: str) -> None:
    org = world.org()
    with pytest.raises(Invalid) as caught, writing(db.session):
        issue_key(db.session, world.clock, SYSTEM, KeyRequest(org_id=org.id, name=name))
    assert caught.value.field == "name"


def test_every_change_leaves_an_event_in_the_same_transaction(world: World) -> None:
    org = world.org()
    key, _ = world.key(org)
    with writing(db.session):
        rename_key(db.session, world.clock, SYSTEM, db.session.get_one(ApiKey, key.id), "other")
    with reading(db.session):
        actions = db.session.scalars(select(AuditEvent.action).where(AuditEvent.target_id == key.id)).all()
    assert actions == ["key.created", "key.activated", "key.renamed"]
    with pytest.raises(RuntimeError), writing(db.session):
        rename_key(db.session, world.clock, SYSTEM, db.session.get_one(ApiKey, key.id), "lost")
        db.session.flush()
        raise RuntimeError
    with reading(db.session):
        count = len(db.session.scalars(select(AuditEvent).where(AuditEvent.target_id == key.id)).all())
        name = db.session.scalar(select(ApiKey.name).where(ApiKey.id == key.id))
    assert (count, name) == (3, "other")


def test_pages_hold_every_key_once_newest_first(world: World, clock: TurnableClock) -> None:
    org, other = world.org(), world.org()
    world.key(other)
    made = []
    for number in range(23):
        if number % 3 == 0:  # several keys of one moment
            clock.turn(seconds=1)
        made.append(world.key(org)[0])
    with reading(db.session):
        paged: list[ApiKey] = []
        page = list_keys(db.session, org.id, Selection(), Window(5))
        paged += page.rows
        while page.next_cursor is not None:
            page = list_keys(db.session, org.id, Selection(), Window(5, page.next_cursor))
            paged += page.rows
        everything = list(iterate_keys(db.session, org.id, Selection()))
    assert {key.id for key in paged} == {key.id for key in made}
    assert len(paged) == 23
    assert [key.id for key in paged] == [key.id for key in everything]
    assert all((a.created_at, a.id) > (b.created_at, b.id) for a, b in pairwise(paged))


def test_deleted_and_failed_keys_are_listed_only_when_asked_for(world: World) -> None:
    org = world.org()
    for state in (State.REVOKED, State.FAILED, State.DISABLED, State.PENDING):
        key, _ = world.key(org)
        with writing(db.session):
            db.session.get_one(ApiKey, key.id).stored_state = state
    with reading(db.session):
        shown = {key.stored_state for key in list_keys(db.session, org.id, Selection(), Window()).rows}
        everything = {key.stored_state for key in iterate_keys(db.session, org.id, Selection(with_deleted=True))}
    assert shown == {State.DISABLED, State.PENDING}
    assert everything == shown | {State.REVOKED, State.FAILED}


def test_keys_are_found_by_the_state_that_they_are_shown_in(world: World, clock: TurnableClock) -> None:
    org, soon = world.org(), clock() + timedelta(minutes=1)
    with writing(db.session):
        for state in set(State) - {State.EXPIRED}:
            for expires_at, retires_at in product((None, soon), repeat=2):
                key, _ = issue_key(db.session, clock, SYSTEM, KeyRequest(org_id=org.id, name=f"{state} 100%"))
                key.stored_state, key.expires_at, key.retires_at = state, expires_at, retires_at
    for _ in range(2):
        with reading(db.session):
            everything = list(iterate_keys(db.session, org.id, Selection(with_deleted=True)))
            for state in State:
                selection = Selection(state=StateAt(state, clock()))
                found = {key.id for key in iterate_keys(db.session, org.id, selection)}
                assert found == {key.id for key in everything if key.state(clock()) is state}, state
        clock.turn(minutes=1)


def test_keys_are_found_by_a_part_of_their_names(world: World) -> None:
    org = world.org()
    with writing(db.session):
        for name in ("backend 100%", "Backend 100", "front_end"):
            issue_key(db.session, world.clock, SYSTEM, KeyRequest(org_id=org.id, name=name))
    for text_, names in (("100%", ["backend 100%"]), ("Back", ["Backend 100"]), ("t_e", ["front_end"]), ("x", [])):
        with reading(db.session):
            found = [key.name for key in iterate_keys(db.session, org.id, Selection(name=text_))]
        assert found == names


def test_a_key_of_another_org_or_environment_is_not_found(world: World) -> None:
    org, other = world.org(), world.org()
    key, _ = world.key(org)
    with reading(db.session):
        assert get_key_of(db.session, org.id, Environment.LIVE, key.id).id == key.id
        for org_id, environment in ((other.id, Environment.LIVE), (org.id, Environment.TEST)):
            with pytest.raises(KeyNotFound):
                get_key_of(db.session, org_id, environment, key.id)


def test_keys_that_move_are_the_same_where_an_organization_has_very_many(world: World, clock: TurnableClock) -> None:
    org, other = world.org(), world.org()
    moving = []
    for number in range(5):
        clock.turn(minutes=1)
        rests, _ = world.key(org)
        with writing(db.session):
            successor, _ = begin(db.session, clock, SYSTEM, rests.id, Terms())
            if number % 2:
                activate(db.session, clock, SYSTEM, successor.id)
        moving.append(rests.id if number % 2 else successor.id)
        for elsewhere, environment in ((other, Environment.LIVE), (org, Environment.TEST)):
            with writing(db.session):
                request = KeyRequest(org_id=elsewhere.id, name="k", environment=environment)
                mint_key(db.session, clock, SYSTEM, request)
    reader = reader_in(Environment.LIVE)
    for most in (3, 6):
        found = read_moving_of_many(reader, org.id, Environment.LIVE, most)
        assert [key.id for key in found] == moving[::-1][:most]
        assert found == read_moving_keys(reader, org.id, Environment.LIVE, most)
