"""From what a request names (an organization, a tenant, an item of media) to the organization that it is about."""

from collections.abc import Callable, Mapping
from typing import Final

from mushu.server.db import AnySession
from mushu.server.errors import Invalid, MediaNotFound, NotFound, OrgNotFound, TenantNotFound
from mushu.server.gate.access import Policy, Subject, authorize, require_environment
from mushu.server.gate.principal import KeyPrincipal, Principal
from mushu.server.keys.scopes import Environment
from mushu.server.media.service import find_media
from mushu.server.tenants.service import find_tenant


def admit(
    session: AnySession, principal: Principal, policy: Policy, environment: Environment, named: str | None
) -> str | None:
    """Let the principal pass, and return the organization that the request is about, or None if it is about none.

    Args:
        named: what the request names: an organization, or the tenant or media that its path holds.

    Raises:
        Invalid: it should name an organization and does not.
        NotFound: what it names is not there, or not for this principal; the two cannot be told apart.
        Forbidden: one of its kinds, see `authorize`.
    """
    if policy.subject is Subject.PATH or (policy.subject is Subject.NAMED and named is not None):
        authorize(session, principal, policy, environment, named)
        return named
    require_environment(principal, policy, environment)  # before it is looked up: it depends on the credential alone
    if policy.subject is Subject.NAMED:
        org_id = _only_one(principal)
        authorize(session, principal, policy, environment, org_id)
        return org_id
    return _of_resource(session, principal, policy, environment, named or "")


def _of_resource(
    session: AnySession, principal: Principal, policy: Policy, environment: Environment, resource_id: str
) -> str:
    org_id = _OWNER[policy.subject](session, resource_id)
    if org_id is not None:
        try:
            authorize(session, principal, policy, environment, org_id)
        except OrgNotFound:
            org_id = None
    if org_id is None:
        kind, word = _NOT_FOUND[policy.subject]
        raise kind(f"There is no {environment} {word} {resource_id!r}, or this credential may not see it.")
    return org_id


def _only_one(principal: Principal) -> str:
    if isinstance(principal, KeyPrincipal):
        return principal.org_id
    raise Invalid("Say which organization this is about: org_id.", field="org_id")


def _of_tenant(session: AnySession, tenant_id: str) -> str | None:
    tenant = find_tenant(session, tenant_id)
    return tenant.org_id if tenant is not None else None


def _of_media(session: AnySession, media_id: str) -> str | None:
    item = find_media(session, media_id)
    return item.org_id if item is not None else None


_OWNER: Final[Mapping[Subject, Callable[[AnySession, str], str | None]]] = {
    Subject.TENANT: _of_tenant,
    Subject.MEDIA: _of_media,
}
_NOT_FOUND: Final[Mapping[Subject, tuple[type[NotFound], str]]] = {
    Subject.TENANT: (TenantNotFound, "tenant"),
    Subject.MEDIA: (MediaNotFound, "media"),
}
