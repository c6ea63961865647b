from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mushu.server.audit import Actor, ActorKind, AuditEvent, EventFilter, list_events, record
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.paging import Window
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_an_event_says_who_did_what_to_what_and_when(world: World) -> None:
    with writing(db.session):
        actor = Actor(ActorKind.OPERATOR, "root")
        record(db.session, world.clock(), actor, "key.deleted", "key_1", org_id="org_1", details={"n": 1})
    with reading(db.session):
        event = db.session.scalars(select(AuditEvent)).one()
    assert (event.at, event.actor_kind, event.actor_id) == (world.clock(), "operator", "root")
    assert (event.action, event.org_id, event.target_id, event.details) == ("key.deleted", "org_1", "key_1", {"n": 1})


ADA, KEY, ROOT = Actor(ActorKind.USER, "usr_a"), Actor(ActorKind.API_KEY, "key_1"), Actor(ActorKind.OPERATOR, "root")


@pytest.fixture
def trail(world: World, clock: TurnableClock) -> datetime:
    """Five events, a minute apart; return the moment of the first."""
    first = clock()
    with writing(db.session):
        for actor, action, target, org_id in (
            (ADA, "key.created", "key_1", "org_1"),
            (KEY, "key.deleted", "key_2", "org_1"),
            (ROOT, "keyring.made", "ring_1", "org_1"),
            (ROOT, "org.renamed", "org_2", "org_2"),
            (ADA, "login.failed", "usr_a", None),
        ):
            record(db.session, clock(), actor, action, target, org_id=org_id)
            clock.turn(minutes=1)
    return first


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["login.failed", "org.renamed", "keyring.made", "key.deleted", "key.created"]),
        ({"org_id": "org_1"}, ["keyring.made", "key.deleted", "key.created"]),
        ({"action": "key"}, ["key.deleted", "key.created"]),
        ({"action": "key.deleted"}, ["key.deleted"]),
        ({"action": "%"}, []),
        ({"actor": "usr_a"}, ["login.failed", "key.created"]),
        ({"actor": "operator", "without_accounts": True}, ["org.renamed", "keyring.made"]),
        ({"actor": "root"}, ["org.renamed", "keyring.made"]),
        ({"actor": "root", "without_accounts": True}, []),
        ({"about": "key_1"}, ["key.deleted", "key.created"]),
    ],
)
def test_events_are_found_newest_first(trail: datetime, wanted: dict[str, Any], found: list[str]) -> None:
    with reading(db.session):
        page = list_events(db.session, EventFilter(**wanted), Window(10))
    assert [event.action for event in page.rows] == found


def test_a_span_has_its_first_moment_and_not_its_last(trail: datetime) -> None:
    span = EventFilter(since=trail + timedelta(minutes=1), until=trail + timedelta(minutes=3))
    with reading(db.session):
        first = list_events(db.session, span, Window(1))
        rest = list_events(db.session, span, Window(9, first.next_cursor))
    assert [event.action for event in (*first.rows, *rest.rows)] == ["keyring.made", "key.deleted"]
