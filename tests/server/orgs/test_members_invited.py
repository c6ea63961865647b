"""Invitations as those who get them, find them, steal them or guess them."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import AlreadyMember, InvitationNotFound, MushuError
from mushu.server.orgs import members
from mushu.server.orgs.invitations import InvitationTerms, cancel_invitation, invite_by_email, invite_by_link
from mushu.server.orgs.members import (
    Invitee,
    accept_invitation,
    decline_invitation,
    find_member,
    get_member,
    remove_member,
)
from mushu.server.orgs.models import Membership, OrgInvitation, Role
from mushu.server.orgs.service import delete_org, get_org
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.orgs.racing import Act, overtake, race

pytestmark = pytest.mark.database


class Inviting:
    """An organization that invites, and somebody who is not a member."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.org = world.org()
        db.session.expunge(self.org)  # a transaction that is rolled back must not make it forget its id
        self.invitee = self.somebody("bob@example.com")

    def somebody(self, email: str | None = None) -> Invitee:
        user = self.world.user(email)
        return Invitee(user.id, user.email)

    def by_link(self, role: str = "member") -> tuple[OrgInvitation, Secret]:
        with writing(db.session):
            made = invite_by_link(db.session, self.world.clock, SYSTEM, self.org, InvitationTerms(role))
        db.session.expunge(made[0])
        return made

    def by_email(self, email: str = "bob@example.com") -> tuple[OrgInvitation, Secret]:
        with writing(db.session):
            made = invite_by_email(db.session, self.world.clock, SYSTEM, self.org, InvitationTerms("member"), email)
        db.session.expunge(made[0])
        return made

    def accept(self, token: Secret, invitee: Invitee | None = None) -> Membership:
        with writing(db.session):
            return accept_invitation(db.session, self.world.clock, invitee or self.invitee, token)

    def decline(self, token: Secret, invitee: Invitee | None = None) -> None:
        with writing(db.session):
            decline_invitation(db.session, self.world.clock, invitee or self.invitee, token)

    def cancel(self, invitation: OrgInvitation) -> None:
        with writing(db.session):
            cancel_invitation(db.session, self.world.clock, SYSTEM, self.org.id, invitation.id)

    def role_of(self, invitee: Invitee) -> str | None:
        with reading(db.session):
            member = find_member(db.session, self.org.id, invitee.user_id)
        return member.role if member is not None else None

    def stored(self, invitation: OrgInvitation) -> tuple[str, str | None]:
        with reading(db.session):
            found = db.session.get_one(OrgInvitation, invitation.id, populate_existing=True)
        return found.stored_status, found.accepted_by

    def refusal(self, token: Secret, invitee: Invitee | None = None) -> str:
        """Return the sentence with which accepting and declining are both refused."""
        sentences = set()
        for answer in (self.accept, self.decline):
            with pytest.raises(InvitationNotFound) as caught:
                answer(token, invitee)
            sentences.add(caught.value.detail)
        (sentence,) = sentences
        return sentence


@pytest.fixture
def inviting(world: World) -> Inviting:
    return Inviting(world)


class TestAccept:
    @pytest.mark.parametrize("role", ["admin", "member"])
    def test_it_works_and_the_trail_names_the_user_and_the_invitation(self, inviting: Inviting, role: str) -> None:
        invitation, token = inviting.by_link(role)
        member = inviting.accept(token)
        invitee = inviting.invitee.user_id
        assert (member.org_id, member.user_id, member.role) == (inviting.org.id, invitee, role)
        assert member.joined_at == inviting.world.clock()
        assert inviting.stored(invitation) == ("accepted", invitee)
        with reading(db.session):
            trail = select(AuditEvent).where(AuditEvent.org_id == inviting.org.id).order_by(AuditEvent.id.desc())
            added, accepted = db.session.scalars(trail.limit(2))
        assert (accepted.action, accepted.target_id) == ("invitation.accepted", invitation.id)
        assert (added.action, added.target_id) == ("member.added", invitee)
        assert {event.actor_id for event in (added, accepted)} == {invitee}

    def test_one_by_email_is_for_the_user_with_that_address_who_may_come_at_the_last_moment(
        self, inviting: Inviting, clock: TurnableClock
    ) -> None:
        _, token = inviting.by_email("later@example.com")
        inviting.refusal(token, inviting.somebody())  # who may not answer does not use it up
        later = inviting.somebody("Later@Example.com")
        clock.turn(days=7, seconds=-1)
        assert inviting.accept(token, later).role == "member"

    def test_who_was_removed_can_come_back_with_a_new_one_and_not_with_the_old(self, inviting: Inviting) -> None:
        _, token = inviting.by_link()
        inviting.accept(token)
        with writing(db.session):
            member = get_member(db.session, inviting.org.id, inviting.invitee.user_id)
            remove_member(db.session, inviting.world.clock, SYSTEM, member)
        inviting.refusal(token)
        assert inviting.role_of(inviting.invitee) is None
        assert inviting.accept(inviting.by_link()[1]).role == "member"


class TestDecline:
    def test_it_works(self, inviting: Inviting) -> None:
        invitation, token = inviting.by_email()
        inviting.decline(token)
        assert inviting.stored(invitation) == ("declined", None)
        assert inviting.role_of(inviting.invitee) is None
        inviting.refusal(token)

    def test_a_member_can_decline_and_stays_one(self, inviting: Inviting) -> None:
        owner = Invitee(inviting.org.created_by, "owner")
        inviting.decline(inviting.by_link()[1], owner)
        assert inviting.role_of(owner) == "owner"


class TestMembers:
    @pytest.mark.parametrize("role", list(Role))
    @pytest.mark.parametrize("offered", ["admin", "member"])
    def test_are_told_so_keep_their_role_and_leave_the_invitation_to_others(
        self, inviting: Inviting, role: Role, offered: str
    ) -> None:
        user_id = inviting.org.created_by if role is Role.OWNER else inviting.world.member(inviting.org, role).id
        member = Invitee(user_id, "someone@example.com")
        invitation, token = inviting.by_link(offered)
        with pytest.raises(AlreadyMember):
            inviting.accept(token, member)
        assert inviting.role_of(member) == role
        assert inviting.stored(invitation) == ("pending", None)
        assert inviting.accept(token).role == offered


def _answered(inviting: Inviting, token: Secret, _: OrgInvitation) -> Secret:
    inviting.accept(token, inviting.somebody())
    return token


def _declined(inviting: Inviting, token: Secret, _: OrgInvitation) -> Secret:
    inviting.decline(token, inviting.somebody())
    return token


def _cancelled(inviting: Inviting, token: Secret, invitation: OrgInvitation) -> Secret:
    inviting.cancel(invitation)
    return token


def _expired(inviting: Inviting, token: Secret, _: OrgInvitation) -> Secret:
    assert isinstance(inviting.world.clock, TurnableClock)
    inviting.world.clock.turn(days=7)
    return token


def _into_a_deleted_organization(inviting: Inviting, token: Secret, _: OrgInvitation) -> Secret:
    with writing(db.session):
        delete_org(db.session, inviting.world.clock, SYSTEM, get_org(db.session, inviting.org.id))
    return token


REFUSED: dict[str, Callable[[Inviting, Secret, OrgInvitation], Secret]] = {
    "answered": _answered,
    "declined": _declined,
    "cancelled": _cancelled,
    "expired": _expired,
    "into a deleted organization": _into_a_deleted_organization,
    "for another address": lambda inviting, *_: inviting.by_email("bob@example.com.evil.example")[1],
    "guessed": lambda *_: generate(Prefix.INVITATION),
    "cut short": lambda _, token, __: Secret(token.reveal()[:-1]),
    "in another case": lambda _, token, __: Secret(token.reveal().swapcase()),
    "a pattern": lambda *_: Secret("%"),
}


@pytest.mark.parametrize("made", REFUSED)
def test_whatever_is_in_the_way_is_refused_with_one_sentence_that_tells_nothing(inviting: Inviting, made: str) -> None:
    invitation, token = inviting.by_link()
    token = REFUSED[made](inviting, token, invitation)
    with reading(db.session):
        before = db.session.scalar(select(func.count()).select_from(AuditEvent))
    assert inviting.refusal(token) == inviting.refusal(generate(Prefix.INVITATION))
    with reading(db.session):
        assert db.session.scalar(select(func.count()).select_from(AuditEvent)) == before
    assert inviting.role_of(inviting.invitee) is None


class TestRaces:
    def test_of_many_who_accept_one_link_at_once_one_joins(self, inviting: Inviting) -> None:
        invitation, token = inviting.by_link()
        crowd = [inviting.somebody() for _ in range(4)]
        outcomes = race(*(self._accepting(inviting, invitee, token) for invitee in crowd))
        assert sorted(outcomes, key=str) == sorted([None, *[InvitationNotFound] * 3], key=str)
        joined = [invitee for invitee in crowd if inviting.role_of(invitee)]
        assert inviting.stored(invitation) == ("accepted", joined[0].user_id)
        assert len(joined) == 1

    def test_who_is_a_moment_late_does_not_join(self, inviting: Inviting) -> None:
        _, token = inviting.by_link()
        late = inviting.somebody()
        faster, slower = (self._accepting(inviting, invitee, token) for invitee in (inviting.invitee, late))
        assert overtake(faster, slower) is InvitationNotFound
        assert (inviting.role_of(inviting.invitee), inviting.role_of(late)) == ("member", None)

    def test_a_cancellation_that_was_a_moment_faster_counts(self, inviting: Inviting) -> None:
        invitation, token = inviting.by_link()

        def cancel(session: Session) -> None:
            cancel_invitation(session, inviting.world.clock, SYSTEM, inviting.org.id, invitation.id)

        assert overtake(cancel, self._accepting(inviting, inviting.invitee, token)) is InvitationNotFound
        assert inviting.role_of(inviting.invitee) is None

    def test_what_was_settled_between_reading_and_writing_is_not_settled_again(
        self, inviting: Inviting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a database where a reader does not keep a writer out."""
        invitation, token = inviting.by_link()

        def find_and_be_overtaken(session: AnySession, *_: str) -> None:
            statement = update(OrgInvitation).where(OrgInvitation.id == invitation.id).values(stored_status="cancelled")
            session.execute(statement.execution_options(synchronize_session=False))

        monkeypatch.setattr(members, "find_member", find_and_be_overtaken)
        with pytest.raises(InvitationNotFound):
            inviting.accept(token)

    def _accepting(self, inviting: Inviting, invitee: Invitee, token: Secret) -> Act:
        return lambda session: accept_invitation(session, inviting.world.clock, invitee, token)


def test_an_error_of_the_tree_rolls_the_whole_answer_back(inviting: Inviting, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation, token = inviting.by_link()

    def fail(*_: object) -> None:
        raise MushuError("no")

    monkeypatch.setattr(members, "add_member", fail)
    with pytest.raises(MushuError):
        inviting.accept(token)
    assert inviting.stored(invitation) == ("pending", None)
