import pytest
from sqlalchemy import select

from mushu.server.audit import SYSTEM, Actor, ActorKind, AuditEvent
from mushu.server.core import db
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import AlreadyMember, Invalid, MemberNotFound, OrgNotFound, OwnerImmovable, OwnerRequired
from mushu.server.orgs.members import (
    add_member,
    find_member,
    get_member,
    remove_member,
    set_role,
    transfer_ownership,
)
from mushu.server.orgs.models import Membership, Organization, Role, parse_assignable
from mushu.server.orgs.service import delete_org, get_org
from tests.server.conftest import World
from tests.server.orgs.racing import Act, open_session, overtake, race

pytestmark = pytest.mark.database


def test_a_member_is_added_once_promoted_and_removed(world: World) -> None:
    org, user_id = world.org(), world.user().id
    with writing(db.session):
        add_member(db.session, world.clock, SYSTEM, org.id, user_id, Role.MEMBER)
    org_id = org.id
    with pytest.raises(AlreadyMember), writing(db.session):
        add_member(db.session, world.clock, SYSTEM, org_id, user_id, Role.ADMIN)
    with writing(db.session):
        set_role(db.session, world.clock, SYSTEM, get_member(db.session, org_id, user_id), Role.ADMIN)
    with reading(db.session):
        assert get_member(db.session, org_id, user_id).role == "admin"
    with writing(db.session):
        remove_member(db.session, world.clock, SYSTEM, get_member(db.session, org_id, user_id))
    with reading(db.session):
        assert find_member(db.session, org_id, user_id) is None
        with pytest.raises(MemberNotFound):
            get_member(db.session, org_id, user_id)


def test_the_owner_can_be_neither_demoted_nor_removed(world: World) -> None:
    org = world.org()
    with reading(db.session):
        owner = get_member(db.session, org.id, org.created_by)
    with pytest.raises(OwnerImmovable), writing(db.session):
        set_role(db.session, world.clock, SYSTEM, owner, Role.MEMBER)
    with pytest.raises(OwnerImmovable), writing(db.session):
        remove_member(db.session, world.clock, SYSTEM, owner)


@pytest.mark.parametrize("text", ["owner", "", "Admin", "root"])
def test_ownership_and_unknown_roles_are_not_handed_out(text: str) -> None:
    with pytest.raises(Invalid):
        parse_assignable(text)
    assert parse_assignable("admin") is Role.ADMIN


def an_org(world: World) -> Organization:
    """Return an organization that can still be spoken of when a transaction was rolled back."""
    org = world.org()
    db.session.expunge(org)
    return org


class TestTransfer:
    def test_it_works_and_can_be_undone_by_the_new_owner_only(self, world: World) -> None:
        org = an_org(world)
        owner, heir = org.created_by, world.member(org, Role.MEMBER).id
        with pytest.raises(Invalid):
            _transfer(world, db.session, org, owner)
        assert _roles(org) == {owner: "owner", heir: "member"}
        _transfer(world, db.session, org, heir, Actor(ActorKind.USER, owner))
        assert _roles(org) == {owner: "admin", heir: "owner"}
        with reading(db.session):
            event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "org.transferred")).one()
        assert (event.target_id, event.org_id) == (org.id, org.id)
        assert event.details == {"from": owner, "to": heir}
        with pytest.raises(OwnerRequired):
            _transfer(world, db.session, org, owner, Actor(ActorKind.USER, owner))
        _transfer(world, db.session, org, owner, Actor(ActorKind.USER, heir))
        assert _roles(org) == {owner: "owner", heir: "admin"}

    @pytest.mark.parametrize("kind", [ActorKind.USER, ActorKind.API_KEY])
    def test_nobody_else_takes_it(self, world: World, kind: ActorKind) -> None:
        org = an_org(world)
        heir = world.member(org, Role.ADMIN).id
        with pytest.raises(OwnerRequired):
            _transfer(world, db.session, org, heir, Actor(kind, heir))
        assert _roles(org) == {org.created_by: "owner", heir: "admin"}

    def test_an_outsider_does_not_get_it_whatever_they_are_elsewhere(self, world: World) -> None:
        org, elsewhere = an_org(world), an_org(world)
        with reading(db.session):
            stranger = get_member(db.session, elsewhere.id, elsewhere.created_by)
        with pytest.raises(MemberNotFound), writing(db.session):
            transfer_ownership(db.session, world.clock, SYSTEM, org, stranger)
        assert _roles(org) == {org.created_by: "owner"}
        assert _roles(elsewhere) == {elsewhere.created_by: "owner"}

    def test_a_deleted_organization_is_not_transferred(self, world: World) -> None:
        org = an_org(world)
        heir = world.member(org, Role.ADMIN)
        with reading(db.session):
            member = get_member(db.session, org.id, heir.id)
        with writing(db.session):
            delete_org(db.session, world.clock, SYSTEM, get_org(db.session, org.id))
        with pytest.raises(OrgNotFound), writing(db.session):
            transfer_ownership(db.session, world.clock, SYSTEM, org, member)


class TestRaces:
    def test_of_two_transfers_by_the_owner_one_counts(self, world: World) -> None:
        org = an_org(world)
        owner = Actor(ActorKind.USER, org.created_by)
        first, second = (world.member(org, Role.MEMBER) for _ in range(2))
        outcome = overtake(
            lambda session: _transfer_in(world, session, org, first.id, owner),
            lambda session: _transfer_in(world, session, org, second.id, owner),
        )
        assert outcome is OwnerRequired
        assert _roles(org) == {org.created_by: "admin", first.id: "owner", second.id: "member"}

    def test_of_many_transfers_at_once_one_owner_comes_out(self, world: World) -> None:
        org = an_org(world)
        heirs = [world.member(org, Role.MEMBER).id for _ in range(4)]
        acts: list[Act] = [
            lambda session, heir=heir: _transfer_in(world, session, org, heir, SYSTEM)  # type: ignore[misc]
            for heir in heirs
        ]
        assert race(*acts) == [None] * 4
        assert sorted(_roles(org).values()) == ["admin", "admin", "admin", "admin", "owner"]

    @pytest.mark.parametrize("change", ["demote", "remove"])
    def test_who_becomes_the_owner_at_that_moment_is_neither_demoted_nor_removed(
        self, world: World, change: str
    ) -> None:
        org = an_org(world)
        heir = world.member(org, Role.ADMIN)
        outcome = overtake(
            lambda session: _transfer_in(world, session, org, heir.id, SYSTEM),
            lambda session: _change(world, session, org, heir.id, change),
        )
        assert outcome is OwnerImmovable
        assert _roles(org) == {org.created_by: "admin", heir.id: "owner"}

    @pytest.mark.parametrize("change", ["demote", "remove", "transfer"])
    def test_who_is_removed_at_that_moment_is_no_member(self, world: World, change: str) -> None:
        org = an_org(world)
        member = world.member(org, Role.ADMIN)
        outcome = overtake(
            lambda session: _change(world, session, org, member.id, "remove"),
            lambda session: _change(world, session, org, member.id, change),
        )
        assert outcome is MemberNotFound
        assert _roles(org) == {org.created_by: "owner"}

    def test_a_session_that_knows_an_older_role_looks_again(self, world: World) -> None:
        org = an_org(world)
        heir = world.member(org, Role.ADMIN)
        with reading(db.session):
            member = get_member(db.session, org.id, heir.id)
        with open_session(db.engine) as other, writing(other):
            _transfer_in(world, other, org, heir.id, SYSTEM)
        assert member.role == "admin"
        with pytest.raises(OwnerImmovable), writing(db.session):
            set_role(db.session, world.clock, SYSTEM, member, Role.MEMBER)


def _transfer(world: World, session: AnySession, org: Organization, user_id: str, actor: Actor = SYSTEM) -> None:
    with writing(session):
        _transfer_in(world, session, org, user_id, actor)


def _transfer_in(world: World, session: AnySession, org: Organization, user_id: str, actor: Actor) -> None:
    transfer_ownership(session, world.clock, actor, org, get_member(session, org.id, user_id))


def _change(world: World, session: AnySession, org: Organization, user_id: str, change: str) -> None:
    member = get_member(session, org.id, user_id)
    if change == "demote":
        set_role(session, world.clock, SYSTEM, member, Role.MEMBER)
    elif change == "remove":
        remove_member(session, world.clock, SYSTEM, member)
    else:
        transfer_ownership(session, world.clock, SYSTEM, org, member)


def _roles(org: Organization) -> dict[str, str]:
    with db.engine.connect() as connection:
        found = select(Membership.user_id, Membership.role).where(Membership.org_id == org.id)
        return {row.user_id: row.role for row in connection.execute(found)}
