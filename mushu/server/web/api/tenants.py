"""`/tenants`: the apps that notifications are sent to, and their credentials for Apple."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field

from mushu.secret import Secret
from mushu.server.answers import Answer
from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate.access import OrgFrom
from mushu.server.keys import Scope
from mushu.server.keys.minting import KeyRequest
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.issue import issue
from mushu.server.paging import Window
from mushu.server.resources import tenants
from mushu.server.resources.apple_credentials import ApnsCredentials, checked_credentials
from mushu.server.resources.tenants import TENANT
from mushu.server.web.api.key_models import CreatedKey, minted_answer
from mushu.server.web.api.models import (
    Body,
    Deleted,
    IdempotencyHeader,
    ListWindow,
    OrgPath,
    TenantPath,
    Text,
    idempotency_of,
)
from mushu.server.web.guard import (
    current_context,
    current_environment,
    current_org,
    current_principal,
    current_reader,
    requires,
)
from mushu.server.web.routes import Resource, Route

_Short = Annotated[str | None, Field(max_length=64)]
_Pem = Annotated[str | None, Field(max_length=8_000)]


class TenantsOf(ListWindow):
    org_id: str | None = Field(default=None, max_length=24)


class ApnsKey(Body):
    """Apple's credentials: all three, or none."""

    team_id: _Short = None
    key_id: _Short = None
    private_key: _Pem = None

    @property
    def credentials(self) -> ApnsCredentials | None:
        return checked_credentials(self.team_id, self.key_id, Secret(self.private_key or ""))


class NewTenant(ApnsKey):
    """An app. Without Apple's credentials its notifications go to the outbox."""

    org_id: _Short = None
    bundle_id: Annotated[str, Field(max_length=155)]
    use_sandbox: bool = False


class TenantChange(ApnsKey):
    """What is to change; `team_id`, `key_id` and `private_key` only together, and null takes them away."""

    use_sandbox: bool | None = None


class TenantKeyName(Body):
    name: Text


class Tenant(BaseModel):
    """An app; its private key is in no answer."""

    tenant_id: str
    org_id: str
    bundle_id: str
    team_id: str | None
    key_id: str | None
    use_sandbox: bool
    environment: str
    created_at: str


class TenantList(BaseModel):
    tenants: list[Tenant]
    next_cursor: str | None


@requires(Scope.ADMIN, org_from=OrgFrom.FIELD)
def create_tenant(header: IdempotencyHeader, body: NewTenant) -> Answer:
    """Create a tenant: an app that notifications are sent to."""
    core = get_core()
    request = tenants.TenantRequest(
        org_id=current_org(),
        bundle_id=body.bundle_id,
        credentials=body.credentials,
        use_sandbox=body.use_sandbox,
        idempotency=idempotency_of(header, body),
    )
    with writing(db.session):
        tenant = tenants.create_tenant(db.session, core.clock, current_principal().actor, core.sealing_keys, request)
    return _answer(tenant)


@requires(Scope.READ, org_from=OrgFrom.FIELD)
def list_tenants(query: TenantsOf) -> Answer:
    """List the tenants of an organization, newest first."""
    return _listed(current_org(), query.window)


@requires(Scope.READ)
def list_tenants_of_organization(path: OrgPath, query: ListWindow) -> Answer:
    """List the tenants of an organization, newest first."""
    return _listed(path.org_id, query.window)


@requires(Scope.READ, org_from=TENANT)
def show_tenant(path: TenantPath) -> Answer:
    """Show a tenant: all but its private key."""
    with reading(db.session):
        return _answer(tenants.get_tenant(db.session, path.tenant_id))


@requires(Scope.ADMIN, org_from=TENANT)
def change_tenant(path: TenantPath, body: TenantChange) -> Answer:
    """Give a tenant other credentials, or take them away; or send it to Apple's sandbox, or back."""
    core, given = get_core(), body.model_fields_set
    with writing(db.session):
        tenant = tenants.get_tenant(db.session, path.tenant_id)
        actor = current_principal().actor
        if given & {"team_id", "key_id", "private_key"}:
            tenants.change_credentials(db.session, core.clock, actor, core.sealing_keys, tenant, body.credentials)
        if body.use_sandbox is not None:
            tenants.choose_host(db.session, core.clock, actor, tenant, use_sandbox=body.use_sandbox)
    return _answer(tenant)


@requires(Scope.ADMIN, org_from=TENANT)
def delete_tenant(path: TenantPath) -> Deleted:
    """Delete a tenant, its credentials, its devices and its media."""
    core, actor = get_core(), current_principal().actor
    with writing(db.session):
        tenants.delete_tenant(db.session, core.clock, actor, path.tenant_id, core.resources.on_tenant_deleted)
    return Deleted()


@requires(Scope.ADMIN, org_from=TENANT)
def create_tenant_api_key(header: IdempotencyHeader, path: TenantPath, body: TenantKeyName) -> CreatedKey:
    """Create an API key of the organization that the tenant belongs to; it works for all that the organization has."""
    with reading(db.session):
        org_id = tenants.get_tenant(db.session, path.tenant_id).org_id
    request = KeyRequest(
        org_id=org_id, name=body.name, environment=current_environment(), idempotency=idempotency_of(header, body)
    )
    return minted_answer(issue(current_context(), request, DeliveryChoice(mode=DeliveryMode.RESPONSE)))


def _listed(org_id: str, window: Window) -> Answer:
    found = tenants.list_tenants(current_reader(), org_id, window)
    return {"tenants": [_answer(tenant) for tenant in found.rows], "next_cursor": found.next_cursor}


def _answer(tenant: tenants.TenantRow) -> Answer:
    return {
        "tenant_id": tenant.id,
        "org_id": tenant.org_id,
        "bundle_id": tenant.bundle_id,
        "team_id": tenant.team_id,
        "key_id": tenant.apns_key_id,
        "use_sandbox": tenant.use_sandbox,
        "environment": tenant.environment,
        "created_at": rfc3339(tenant.created_at),
    }


_ONE = "/tenants/<tenant_id>"

RESOURCE = Resource(
    "tenants",
    [
        Route("POST", "/tenants", create_tenant, Tenant, (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)),
        Route("GET", "/tenants", list_tenants, TenantList, (HTTPStatus.NOT_FOUND,)),
        Route("GET", "/orgs/<org_id>/tenants", list_tenants_of_organization, TenantList),
        Route("GET", _ONE, show_tenant, Tenant),
        Route("PATCH", _ONE, change_tenant, Tenant),
        Route("DELETE", _ONE, delete_tenant, Deleted),
        Route("POST", f"{_ONE}/api-keys", create_tenant_api_key, CreatedKey, (HTTPStatus.CONFLICT,)),
    ],
)
