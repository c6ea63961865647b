"""Organizations: themselves, their settings, and their members."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate import UserPrincipal
from mushu.server.keys import Scope, parse_scopes
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs.members import (
    add_member,
    get_member,
    list_members,
    remove_member,
    set_role,
    transfer_ownership,
)
from mushu.server.orgs.models import Membership, parse_assignable
from mushu.server.orgs.service import create_org, get_org, list_orgs_of_user, read_org, refuse_too_many, rename_org
from mushu.server.orgs.settings import MOST_DOMAINS, Rules, change_rules, refuse_foreign, rules_of, written
from mushu.server.paging import Page
from mushu.server.users.service import emails_of, get_user
from mushu.server.web.api.models import Body, Deleted, ListWindow, Member, OrgPath, Text, optional
from mushu.server.web.guard import current_context, current_principal, current_reader, current_user, requires, signed_in
from mushu.server.web.routes import Resource, Route

_Duration = Annotated[str | None, Field(max_length=16)]
_DURATIONS = ("default_lifetime", "default_rotate_every", "max_key_age")
_SETTINGS_PATH = "/orgs/<org_id>/settings"


class OrgName(Body):
    name: Text


class Org(BaseModel):
    org_id: str
    name: str
    created_at: str
    created_by: str
    limits: list[str] | None = optional()


class OrgList(BaseModel):
    orgs: list[Org]
    next_cursor: str | None


class OrgSettingsChange(Body):
    """What is to change; null takes a setting back. Durations are written as `90d`."""

    default_scopes: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=10)] | None = None
    default_lifetime: _Duration = None
    default_rotate_every: _Duration = None
    max_key_age: _Duration = None
    email_domains: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=MOST_DOMAINS)] | None = None


class OrgSettings(BaseModel):
    """The settings of an organization; null where nothing is set."""

    default_scopes: list[str] | None
    default_lifetime: str | None
    default_rotate_every: str | None
    max_key_age: str | None
    email_domains: list[str] | None


@signed_in
def create_organization(body: OrgName) -> Org:
    """Create an organization; the user becomes its owner."""
    user, most = current_user(), get_core().settings.orgs_per_user
    with writing(db.session):
        refuse_too_many(db.session, get_core().clock, user.user_id, most)
        org = create_org(db.session, get_core().clock, user.actor, body.name, user.user_id)
    return Org(**answers.org(org))


@requires(Scope.READ)
def list_organizations(query: ListWindow) -> OrgList:
    """List the organizations that the credential can see, the one first that the user joined first."""
    principal = current_principal()
    if isinstance(principal, UserPrincipal):
        with reading(db.session):
            found = list_orgs_of_user(db.session, principal.user_id, query.window)
    else:
        found = Page([read_org(current_reader(), principal.org_id)], None)
    return OrgList(orgs=[Org(**answers.org(org)) for org in found.rows], next_cursor=found.next_cursor)


@requires(Scope.READ)
def show_organization(path: OrgPath) -> answers.Answer:
    """Show an organization."""
    return answers.org(read_org(current_reader(), path.org_id))


@requires(Scope.ADMIN, changes_shared=True)
def rename_organization(path: OrgPath, body: OrgName) -> Org:
    """Give an organization another name."""
    with writing(db.session):
        org = get_org(db.session, path.org_id)
        rename_org(db.session, get_core().clock, current_principal().actor, org, body.name)
    return Org(**answers.org(org))


@requires(Scope.ADMIN, user_only=True, owner_only=True, changes_shared=True)
def delete_organization(path: OrgPath) -> Deleted:
    """Delete an organization and every API key it has. Only its owner can."""
    delete_org(current_context(), path.org_id, get_core().resources.on_org_deleted)
    return Deleted()


@requires(Scope.READ)
def show_organization_settings(path: OrgPath) -> OrgSettings:
    """Show the settings of an organization."""
    with reading(db.session):
        return _settings_answer(rules_of(db.session, path.org_id))


@requires(Scope.ADMIN, changes_shared=True)
def change_organization_settings(path: OrgPath, body: OrgSettingsChange) -> OrgSettings:
    """Change settings of an organization. They apply to new keys and new members only."""
    changes = _setting_changes(body)
    with writing(db.session):
        return _settings_answer(
            change_rules(db.session, get_core().clock, current_principal().actor, path.org_id, changes)
        )


def _setting_changes(body: OrgSettingsChange) -> dict[str, object]:
    changes: dict[str, object] = {name: getattr(body, name) for name in body.model_fields_set}
    for name in _DURATIONS:
        text = getattr(body, name)
        if text is not None:
            changes[name] = parse_duration(text, name)
    if body.default_scopes is not None:
        changes["default_scopes"] = parse_scopes(body.default_scopes)
    if body.email_domains is not None:
        changes["email_domains"] = tuple(dict.fromkeys(domain.lower() for domain in body.email_domains))
    return changes


def _settings_answer(rules: Rules) -> OrgSettings:
    return OrgSettings.model_validate(written(rules))


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
    next_cursor: str | None


@requires(Scope.READ)
def list_memberships(path: OrgPath, query: ListWindow) -> MemberList:
    """List who belongs to an organization, the longest-standing member first."""
    with reading(db.session):
        found = list_members(db.session, path.org_id, query.window)
        emails = emails_of(db.session, [member.user_id for member in found.rows])
    members = [Member(**answers.member(member, emails[member.user_id])) for member in found.rows]
    return MemberList(members=members, next_cursor=found.next_cursor)


@requires(Scope.ADMIN, changes_shared=True)
def add_membership(path: OrgPath, body: NewMember) -> Member:
    """Let a user into an organization."""
    role = parse_assignable(body.role)
    with writing(db.session):
        user = get_user(db.session, body.user_id)
        refuse_foreign(db.session, path.org_id, user.email)
        actor = current_principal().actor
        member = add_member(db.session, get_core().clock, actor, path.org_id, user.id, role)
    return _member_answer(member)


@requires(Scope.READ, user_only=True)
def show_my_membership(path: OrgPath) -> Member:
    """Show the signed-in user's own membership."""
    with reading(db.session):
        member = get_member(db.session, path.org_id, current_user().user_id)
    return _member_answer(member)


@requires(Scope.ADMIN, changes_shared=True)
def set_membership_role(path: MemberPath, body: NewRole) -> Member:
    """Give a member another role; the owner's cannot be changed."""
    role = parse_assignable(body.role)
    with writing(db.session):
        member = get_member(db.session, path.org_id, path.user_id)
        set_role(db.session, get_core().clock, current_principal().actor, member, role)
    return _member_answer(member)


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
        refuse_too_many(db.session, get_core().clock, member.user_id, get_core().settings.orgs_per_user)
        member = transfer_ownership(db.session, get_core().clock, current_principal().actor, org, member)
    return _member_answer(member)


def _member_answer(member: Membership) -> Member:
    with reading(db.session):
        emails = emails_of(db.session, [member.user_id])
    return Member(**answers.member(member, emails[member.user_id]))


RESOURCE = Resource(
    "organizations",
    [
        Route("POST", "/orgs", create_organization, Org, (HTTPStatus.CONFLICT,)),
        Route("GET", "/orgs", list_organizations, OrgList),
        Route("GET", "/orgs/<org_id>", show_organization, Org),
        Route("PATCH", "/orgs/<org_id>", rename_organization, Org),
        Route("DELETE", "/orgs/<org_id>", delete_organization, Deleted, (HTTPStatus.CONFLICT,)),
    ],
)
SETTINGS = Resource(
    "settings",
    [
        Route("GET", _SETTINGS_PATH, show_organization_settings, OrgSettings),
        Route("PATCH", _SETTINGS_PATH, change_organization_settings, OrgSettings),
    ],
)
MEMBERS = Resource(
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
