import re

import pytest
from sqlalchemy import select

from mushu.keyformat import CREDENTIAL_PATTERN, Prefix, generate, parse
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, Actor, ActorKind, AuditEvent
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import AlreadyCreated, Invalid, InvitationNotFound
from mushu.server.idempotency import IdempotencyMark
from mushu.server.orgs.invitations import (
    InvitationStatus,
    InvitationTerms,
    cancel_invitation,
    invite_by_email,
    invite_by_link,
    list_invitations,
    status_of,
)
from mushu.server.orgs.members import Invitee, accept_invitation, decline_invitation
from mushu.server.orgs.models import Organization, OrgInvitation
from mushu.server.paging import Window
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database

LINK = InvitationTerms("member")


def link(world: World, org: Organization, terms: InvitationTerms = LINK) -> tuple[OrgInvitation, Secret]:
    with writing(db.session):
        made = invite_by_link(db.session, world.clock, SYSTEM, org, terms)
    db.session.expunge(made[0])  # a transaction that is rolled back must not make it forget its id
    return made


def events(target: str) -> list[AuditEvent]:
    with reading(db.session):
        found = select(AuditEvent).where(AuditEvent.target_id == target).order_by(AuditEvent.id)
        return list(db.session.scalars(found))


def test_a_token_is_kept_as_a_digest_only_and_can_be_told_from_other_credentials(world: World) -> None:
    invitation, token = link(world, world.org())
    assert parse(token.reveal()) is Prefix.INVITATION
    assert token.matches(invitation.digest)
    with db.engine.connect() as connection:
        rows = str(
            [*connection.execute(select(OrgInvitation.__table__)), *connection.execute(select(AuditEvent.__table__))]
        )
    assert invitation.id in rows
    assert CREDENTIAL_PATTERN.search(rows) is None


def test_an_invitation_lasts_a_week_unless_told_otherwise(world: World) -> None:
    org = world.org()
    for terms, days in (
        (LINK, 7),
        (InvitationTerms("member", 1), 1),
        (InvitationTerms("member", 90), 90),
        (InvitationTerms("member", None), 90),
    ):
        invitation, _ = link(world, org, terms)
        assert (invitation.expires_at - invitation.created_at).days == days


@pytest.mark.parametrize(
    ("terms", "field"),
    [(InvitationTerms("member", days), "expires_in_days") for days in (0, -1, 91, 10**30, -(10**30))]
    + [(InvitationTerms(role), "role") for role in ("owner", "", "Admin", "member ")],
)
def test_no_other_terms_and_no_ownership_are_offered(world: World, terms: InvitationTerms, field: str) -> None:
    org = world.org()
    with pytest.raises(Invalid) as caught:
        link(world, org, terms)
    assert caught.value.field == field
    with reading(db.session):
        assert list_invitations(db.session, world.clock, org.id, None, Window()).rows == []


@pytest.mark.parametrize(
    ("actor", "inviter"),
    [
        (Actor(ActorKind.USER, "usr_x"), "usr_x"),
        (Actor(ActorKind.API_KEY, "key_x"), "key_x"),
        (Actor(ActorKind.OPERATOR, "a-very-long-name-of-an-account"), "operator"),
        (SYSTEM, "system"),
    ],
)
def test_it_says_who_invited_and_the_trail_knows_the_operator(world: World, actor: Actor, inviter: str) -> None:
    org = world.org()
    with writing(db.session):
        invitation, _ = invite_by_email(
            db.session, world.clock, actor, org, InvitationTerms("admin"), "bob@example.com"
        )
    assert invitation.invited_by == inviter
    (event,) = events(invitation.id)
    assert (event.action, event.actor_kind, event.actor_id, event.org_id) == (
        "invitation.created", actor.kind, actor.id, org.id,
    )  # fmt: skip
    assert event.details == {"type": "email", "role": "admin", "email": "bob@example.com"}


def test_a_pending_one_is_called_expired_from_the_moment_its_time_is_over(world: World, clock: TurnableClock) -> None:
    invitation, _ = link(world, world.org(), InvitationTerms("member", 1))
    clock.turn(days=1, seconds=-1)
    assert status_of(invitation, clock()) is InvitationStatus.PENDING
    clock.turn(seconds=1)
    assert status_of(invitation, clock()) is InvitationStatus.EXPIRED
    assert invitation.stored_status == "pending"


def test_they_are_listed_newest_first_and_by_status(world: World, clock: TurnableClock) -> None:
    org, user = world.org(), world.user()
    invitee, made = Invitee(user.id, user.email), {}
    for status in ("expired", "declined", "accepted", "cancelled", "pending"):
        clock.turn(seconds=1)
        made[status] = link(world, org, InvitationTerms("member", 1 if status == "expired" else 7))
    link(world, world.org())
    clock.turn(days=1)
    with writing(db.session):
        decline_invitation(db.session, clock, invitee, made["declined"][1])
        accept_invitation(db.session, clock, invitee, made["accepted"][1])
        cancel_invitation(db.session, clock, SYSTEM, org.id, made["cancelled"][0].id)
    with reading(db.session):
        listed = list_invitations(db.session, clock, org.id, None, Window()).rows
        assert [status_of(one, clock()) for one in listed] == [*reversed(made)]
        for status in InvitationStatus:
            (one,) = list_invitations(db.session, clock, org.id, status, Window()).rows
            assert one.id == made[status][0].id


def test_a_mark_makes_one_and_another_mark_another(world: World) -> None:
    org = world.org()
    first, second = (IdempotencyMark.of(key, (org.id, "invite"), {}) for key in ("a" * 24, "b" * 24))
    made, _ = link(world, org, InvitationTerms("member", idempotency=first))
    assert re.fullmatch("inv_[a-z2-7]{12}", made.id)
    assert link(world, org, InvitationTerms("member", idempotency=second))[0].id != made.id
    with pytest.raises(AlreadyCreated, match=f"{made.id}, whose link is shown once"):
        link(world, org, InvitationTerms("admin", idempotency=first))


class TestCancel:
    def test_it_works_once_and_for_its_organization_only(self, world: World) -> None:
        made = world.org()
        org, elsewhere, (invitation, _) = made.id, world.org().id, link(world, made)
        with pytest.raises(InvitationNotFound), writing(db.session):
            cancel_invitation(db.session, world.clock, SYSTEM, elsewhere, invitation.id)
        assert len(events(invitation.id)) == 1
        with writing(db.session):
            cancel_invitation(db.session, world.clock, SYSTEM, org, invitation.id)
        with reading(db.session):
            found = db.session.get_one(OrgInvitation, invitation.id, populate_existing=True)
        assert (found.stored_status, found.settled_at, found.accepted_by) == ("cancelled", world.clock(), None)
        with pytest.raises(InvitationNotFound), writing(db.session):
            cancel_invitation(db.session, world.clock, SYSTEM, org, invitation.id)
        assert [event.action for event in events(invitation.id)] == ["invitation.created", "invitation.cancelled"]

    def test_an_expired_one_can_be_cleared_away(self, world: World, clock: TurnableClock) -> None:
        org = world.org()
        invitation, _ = link(world, org)
        clock.turn(days=8)
        with writing(db.session):
            cancel_invitation(db.session, clock, SYSTEM, org.id, invitation.id)
        with reading(db.session):
            found = db.session.get_one(OrgInvitation, invitation.id)
        assert status_of(found, clock()) is InvitationStatus.CANCELLED

    def test_the_id_is_no_token(self, world: World) -> None:
        org, user = world.org(), world.user()
        invitation, _ = link(world, org)
        for text in (invitation.id, invitation.digest, "", generate(Prefix.INVITATION).reveal()):
            with pytest.raises(InvitationNotFound), writing(db.session):
                accept_invitation(db.session, world.clock, Invitee(user.id, user.email), Secret(text))
