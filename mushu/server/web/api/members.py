"""Members of an organization: list, add, change the role, remove, and hand over the ownership."""

from http import HTTPStatus

from pydantic import BaseModel

from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.keys.scopes import Scope
from mushu.server.orgs.members import (
    add_member,
    get_member,
    list_members,
    remove_member,
    set_role,
    transfer_ownership,
)
from mushu.server.orgs.models import Membership, parse_assignable
from mushu.server.orgs.service import get_org, refuse_too_many
from mushu.server.orgs.settings import refuse_foreign
from mushu.server.users.service import emails_of, get_user, lock_user
from mushu.server.web.api.models import Body, Deleted, Member, OrgPath, Text
from mushu.server.web.guard import current_principal, current_user, requires
from mushu.server.web.routes import Resource, Route


class MemberPath(OrgPath):
    user_id: str


class NewMember(Body):
    user_id: Text
    role: Text = "member"


class NewRole(Body):
    role: Text


class NewOwner(Body):
    user_id: Text


class MemberList(BaseModel):
    members: list[Member]


@requires(Scope.READ)
def list_memberships(path: OrgPath) -> MemberList:
    """List who belongs to an organization."""
    with reading(db.session):
        members = list_members(db.session, path.org_id)
        emails = emails_of(db.session, [member.user_id for member in members])
    return MemberList(members=[Member(**answers.member(member, emails[member.user_id])) for member in members])


@requires(Scope.ADMIN, changes_shared=True)
def add_membership(path: OrgPath, body: NewMember) -> Member:
    """Let a user into an organization."""
    role = parse_assignable(body.role)
    with writing(db.session):
        user = get_user(db.session, body.user_id)
        refuse_foreign(db.session, path.org_id, user.email)
        actor = current_principal().actor
        member = add_member(db.session, get_core().clock, actor, path.org_id, user.id, role)
    return _answer(member)


@requires(Scope.READ, user_only=True)
def show_my_membership(path: OrgPath) -> Member:
    """Show the signed-in user's own membership."""
    with reading(db.session):
        member = get_member(db.session, path.org_id, current_user().user_id)
    return _answer(member)


@requires(Scope.ADMIN, changes_shared=True)
def set_membership_role(path: MemberPath, body: NewRole) -> Member:
    """Give a member another role; the owner's cannot be changed."""
    role = parse_assignable(body.role)
    with writing(db.session):
        member = get_member(db.session, path.org_id, path.user_id)
        set_role(db.session, get_core().clock, current_principal().actor, member, role)
    return _answer(member)


@requires(Scope.ADMIN, changes_shared=True)
def remove_membership(path: MemberPath) -> Deleted:
    """Take a member out of an organization; the owner cannot be removed."""
    with writing(db.session):
        member = get_member(db.session, path.org_id, path.user_id)
        remove_member(db.session, get_core().clock, current_principal().actor, member)
    return Deleted()


@requires(Scope.ADMIN, user_only=True, owner_only=True, changes_shared=True)
def transfer_organization(path: OrgPath, body: NewOwner) -> Member:
    """Make another member the owner; the former owner becomes an admin. Only the owner can."""
    with writing(db.session):
        org = get_org(db.session, path.org_id)
        member = get_member(db.session, org.id, body.user_id)
        lock_user(db.session, member.user_id)  # two transfers to one user are counted one after the other
        refuse_too_many(db.session, get_core().clock, member.user_id, get_core().settings.orgs_per_user)
        member = transfer_ownership(db.session, get_core().clock, current_principal().actor, org, member)
    return _answer(member)


def _answer(member: Membership) -> Member:
    with reading(db.session):
        emails = emails_of(db.session, [member.user_id])
    return Member(**answers.member(member, emails[member.user_id]))


RESOURCE = Resource(
    "members",
    [
        Route("GET", "/orgs/<org_id>/members", list_memberships, MemberList),
        Route("POST", "/orgs/<org_id>/members", add_membership, Member, (HTTPStatus.CONFLICT,)),
        Route("GET", "/orgs/<org_id>/members/me", show_my_membership, Member),
        Route("PATCH", "/orgs/<org_id>/members/<user_id>", set_membership_role, Member, (HTTPStatus.CONFLICT,)),
        Route("DELETE", "/orgs/<org_id>/members/<user_id>", remove_membership, Deleted, (HTTPStatus.CONFLICT,)),
        Route("POST", "/orgs/<org_id>/transfer", transfer_organization, Member, (HTTPStatus.CONFLICT,)),
    ],
)
