import pytest
from sqlalchemy import select

from mushu.server.audit.models import AuditEvent
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.core import db
from mushu.server.db import reading, writing
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
