"""Who may do what (design, section 6)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mushu.server.db import AnySession
from mushu.server.errors import MissingScope, OrgNotFound, OwnerRequired, UserRequired, WrongEnvironment
from mushu.server.gate.principal import KeyPrincipal, Principal, UserPrincipal
from mushu.server.keys.scopes import Environment, Scope
from mushu.server.orgs.members import find_member
from mushu.server.orgs.roles import Role

ROLE_SCOPES: Final = {
    Role.OWNER: frozenset(Scope),
    Role.ADMIN: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.READ, Scope.WRITE}),
}


class Subject(StrEnum):
    """How a request says which organization it is about."""

    #: By its path, or it is about none.
    PATH = "path"
    #: By the `org_id` of its query or of its body; an API key need not say it.
    NAMED = "named"
    #: By a tenant or an item of media in its path, which belongs to one.
    TENANT = "tenant"
    MEDIA = "media"


@dataclass(frozen=True, slots=True)
class Policy:
    """What an endpoint asks of a principal."""

    #: The one scope it needs, or None for the endpoints that are about the signed-in user.
    scope: Scope | None
    #: Only a user can do it, whatever scopes an API key has.
    user_only: bool = False
    #: Only the owner of the organization can do it.
    owner_only: bool = False
    #: It changes what live and test share (an organization, its members), which counts as live.
    changes_shared: bool = False
    subject: Subject = Subject.PATH


def authorize(
    session: AnySession, principal: Principal, policy: Policy, environment: Environment, org_id: str | None
) -> None:
    """Let the principal pass, or raise; what it may not see is refused first, so that nothing is given away.

    Args:
        environment: that of the request.
        org_id: the organization that the request is about, or None where it is about none.

    Raises:
        OrgNotFound: there is no such organization for this principal.
        WrongEnvironment: an API key of the other environment.
        UserRequired, MissingScope, OwnerRequired: not enough.
    """
    scopes = scopes_in(session, principal, org_id)
    require_environment(principal, policy, environment)
    if policy.user_only and not isinstance(principal, UserPrincipal):
        raise UserRequired("An API key cannot do this; sign in and use a CLI token.")
    if policy.scope is not None and policy.scope not in scopes:
        held = ", ".join(scope for scope in Scope if scope in scopes)
        raise MissingScope(f"This needs the scope {policy.scope}; the credential carries: {held}.")
    if policy.owner_only and org_id is not None:
        _require_owner(session, principal, org_id)


def scopes_in(session: AnySession, principal: Principal, org_id: str | None) -> frozenset[Scope]:
    """Return the scopes of the principal in the organization, or at most anywhere if `org_id` is None.

    Raises:
        OrgNotFound: the organization is not there, or not for this principal; the two cannot be told apart.
    """
    if isinstance(principal, KeyPrincipal):
        if org_id in (None, principal.org_id):
            return frozenset(principal.scopes)
    elif org_id is None:
        return frozenset(Scope)
    else:
        member = find_member(session, org_id, principal.user_id)
        if member is not None:
            return ROLE_SCOPES[Role(member.role)]
    raise OrgNotFound(f"There is no organization {org_id!r}, or this credential may not see it.")


def require_environment(principal: Principal, policy: Policy, environment: Environment) -> None:
    if isinstance(principal, UserPrincipal):
        return
    if principal.environment is not environment:
        paths = "paths under /sandbox" if principal.environment is Environment.TEST else "paths without /sandbox"
        raise WrongEnvironment(f"This is a {principal.environment} key: it works on {paths} only.")
    if policy.changes_shared and environment is Environment.TEST:
        raise WrongEnvironment("A test key cannot change organizations or members: test and live share them.")


def _require_owner(session: AnySession, principal: Principal, org_id: str) -> None:
    member = find_member(session, org_id, principal.user_id) if isinstance(principal, UserPrincipal) else None
    if member is None or not member.is_owner:
        raise OwnerRequired("Only the owner of the organization can do this.")
