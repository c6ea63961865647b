import pytest

from mushu.server.audit.service import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import AlreadyMember, Invalid, MemberNotFound, OwnerImmovable
from mushu.server.orgs.members import add_member, find_member, get_member, remove_member, set_role
from mushu.server.orgs.roles import Role, parse_assignable
from tests.server.conftest import World


def test_a_member_is_added_promoted_and_removed(world: World) -> None:
    org, user = world.org(), world.user()
    with writing(db.session):
        add_member(db.session, world.clock, SYSTEM, org.id, user.id, Role.MEMBER)
    with writing(db.session):
        set_role(db.session, world.clock, SYSTEM, get_member(db.session, org.id, user.id), Role.ADMIN)
    with reading(db.session):
        assert get_member(db.session, org.id, user.id).role == "admin"
    with writing(db.session):
        remove_member(db.session, world.clock, SYSTEM, get_member(db.session, org.id, user.id))
    with reading(db.session):
        assert find_member(db.session, org.id, user.id) is None
        with pytest.raises(MemberNotFound):
            get_member(db.session, org.id, user.id)


def test_nobody_is_added_twice(world: World) -> None:
    org = world.org()
    user = world.member(org, Role.MEMBER)
    with pytest.raises(AlreadyMember), writing(db.session):
        add_member(db.session, world.clock, SYSTEM, org.id, user.id, Role.ADMIN)


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
