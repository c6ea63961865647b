"""Organizations and their settings."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate.principal import UserPrincipal
from mushu.server.keys.scopes import Scope, parse_scopes
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs.service import create_org, get_org, list_orgs_of_user, refuse_too_many, rename_org
from mushu.server.orgs.settings import MOST_DOMAINS, Rules, change_rules, rules_of, written
from mushu.server.web.api.models import Body, Deleted, OrgPath, Text
from mushu.server.web.guard import current_context, current_principal, current_user, requires, signed_in
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


class OrgList(BaseModel):
    orgs: list[Org]


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
def list_organizations() -> OrgList:
    """List the organizations that the credential can see."""
    principal = current_principal()
    with reading(db.session):
        if isinstance(principal, UserPrincipal):
            found = list_orgs_of_user(db.session, principal.user_id)
        else:
            found = [get_org(db.session, principal.org_id)]
    return OrgList(orgs=[Org(**answers.org(org)) for org in found])


@requires(Scope.READ)
def show_organization(path: OrgPath) -> Org:
    """Show an organization."""
    with reading(db.session):
        org = get_org(db.session, path.org_id)
    return Org(**answers.org(org))


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
