"""What is long over is deleted; what is not, and the audit trail, stays."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db
from mushu.server.db import Base, reading, writing
from mushu.server.operation.housekeeping import KEPT, delete_expired, tick
from mushu.server.orgs.invitations import InvitationTerms, invite_by_link
from mushu.server.orgs.models import OrgInvitation
from mushu.server.tokens import device_flow
from mushu.server.tokens.models import BrowserSession, CliToken, DeviceAuthorization
from mushu.server.tokens.sessions import Visitor, start_session
from mushu.server.users.links import issue_link
from mushu.server.users.models import LoginFailures, PasswordLink
from mushu.server.users.throttle import note_failure
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database

TABLES: tuple[type[Base], ...] = (
    CliToken, BrowserSession, PasswordLink, DeviceAuthorization, OrgInvitation, LoginFailures,
)  # fmt: skip


def give_everything(world: World) -> None:
    user, org = world.user(), world.org()
    world.token(user)
    with writing(db.session):
        start_session(db.session, world.clock, user, Visitor("192.0.2.1", "Firefox"))
        issue_link(db.session, world.clock, SYSTEM, user)
        device_flow.start(db.session, world.clock, None, None)
        invite_by_link(db.session, world.clock, SYSTEM, org, InvitationTerms("member"))
        note_failure(db.session, world.clock, user, "192.0.2.1")


def rows(of: type[Base]) -> int:
    with reading(db.session):
        return db.session.scalar(select(func.count()).select_from(of)) or 0


@pytest.mark.fault
def test_what_was_over_long_ago_is_deleted_and_the_audit_trail_stays(world: World, clock: TurnableClock) -> None:
    give_everything(world)
    events = rows(AuditEvent)
    clock.turn(days=KEPT.days + 7)
    assert delete_expired(db.session, clock) == len(TABLES)
    assert [rows(of) for of in TABLES] == [0] * len(TABLES)
    assert rows(AuditEvent) == events
    assert delete_expired(db.session, clock) == 0


def test_what_is_good_or_was_over_lately_stays(world: World, clock: TurnableClock) -> None:
    give_everything(world)
    clock.turn(days=KEPT.days - 1)
    assert delete_expired(db.session, clock) == 0
    assert [rows(of) for of in TABLES] == [1] * len(TABLES)


def test_a_few_go_with_each_transaction(world: World, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.paging.DELETED_AT_ONCE", 2)
    monkeypatch.setattr("mushu.server.paging.DELETIONS_OF_A_ROUND", 3)
    user = world.user()
    for _ in range(8):
        world.token(user)
    clock.turn(days=KEPT.days + 1)
    assert delete_expired(db.session, clock) == 6
    assert delete_expired(db.session, clock) == 2


def test_housekeeping_does_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def note(name: str) -> Callable[..., int]:
        def act(*_: object) -> int:
            called.append(name)
            return 0

        return act

    monkeypatch.setattr("mushu.server.operation.housekeeping.delete_expired", note("grants"))
    monkeypatch.setattr("mushu.server.operation.housekeeping.tell_failures", note("failures"))
    tick(world.core.settings)
    assert called == ["failures", "grants"]
