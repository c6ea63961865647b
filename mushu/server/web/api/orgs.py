from http import HTTPStatus

from pydantic import BaseModel

from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.removal import delete_org_with_keys
from mushu.server.gate.principal import UserPrincipal
from mushu.server.keys.scopes import Scope
from mushu.server.orgs.service import create_org, get_org, list_orgs_of_user, refuse_too_many, rename_org
from mushu.server.web.api.models import Body, Deleted, OrgPath, Text
from mushu.server.web.guard import current_principal, current_user, requires, signed_in
from mushu.server.web.routes import Resource, Route


class OrgName(Body):
    name: Text


class Org(BaseModel):
    org_id: str
    name: str
    created_at: str
    created_by: str


class OrgList(BaseModel):
    orgs: list[Org]


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
    core = get_core()
    with reading(db.session):
        org = get_org(db.session, path.org_id)
    delete_org_with_keys(db.session, core.clock, current_principal().actor, core.open_destination, org)
    return Deleted()


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
