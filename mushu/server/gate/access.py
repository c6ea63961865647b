"""Who may do what, and in which organization (design, section 6)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from mushu.environment import Environment
from mushu.server.db import AnySession
from mushu.server.environments import Source
from mushu.server.errors import (
    Forbidden,
    Invalid,
    KeyRequired,
    MissingScope,
    NotFound,
    OperatorRequired,
    OrgNotFound,
    OwnerRequired,
    Unauthenticated,
    UserRequired,
    WrongEnvironment,
)
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.principal import principal_of_key
from mushu.server.keys import Scope
from mushu.server.orgs.members import find_role
from mushu.server.orgs.models import Role
from mushu.server.users.service import find_user

ROLE_SCOPES: Final = {
    Role.OWNER: frozenset(Scope),
    Role.ADMIN: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.READ, Scope.WRITE}),
}


class OrgFrom(StrEnum):
    """The request names the organization itself."""

    #: In its path; or it is about none.
    PATH = "path"
    #: In the field `org_id` of its query or of its body. An API key may leave it out.
    FIELD = "field"


@dataclass(frozen=True, slots=True)
class OwnerLookup:
    """The request names a resource in its path, and the resource belongs to an organization."""

    #: The word for the resource, as `tenant`; the path holds its id as `<tenant_id>`.
    resource: str
    #: Returns the id of the organization that owns the resource, or None where there is no such resource.
    find_org: Callable[[Source, str], str | None]
    not_found: type[NotFound]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What an endpoint asks of a principal."""

    #: The one scope it needs, or None for the endpoints that are about the signed-in user.
    scope: Scope | None
    #: Only a user can do it, whatever scopes an API key has.
    user_only: bool = False
    #: Only the owner of the organization can do it.
    owner_only: bool = False
    #: Only an operator of the server can do it.
    operator_only: bool = False
    #: Only an API key can ask, and it is about the key's own organization and environment.
    key_only: bool = False
    #: It changes what live and test share (an organization, its members), which counts as live.
    changes_shared: bool = False
    #: It tells of live and test alike, which counts as live.
    tells_of_both: bool = False
    org_from: OrgFrom | OwnerLookup = OrgFrom.PATH


def admit(
    source: Source, principal: Principal, requirement: Requirement, environment: Environment, named: str | None
) -> str | None:
    """Let the principal pass, and return the organization that the request is about, or None if it is about none.

    Args:
        named: what the request names: an organization, or the resource whose id its path holds.

    Raises:
        Invalid: it should name an organization and does not.
        NotFound: what it names is not there, or not for this principal; the two cannot be told apart.
        Forbidden: one of its kinds, see `authorize`.
    """
    org_from = requirement.org_from
    if isinstance(org_from, OwnerLookup):
        require_environment(principal, requirement, environment)  # depends on the credential alone, so it is first
        return _admit_to_resource(source, principal, requirement, environment, org_from, named or "")
    if org_from is OrgFrom.FIELD and named is None:
        require_environment(principal, requirement, environment)
        named = _only_org(principal)
    authorize(source, principal, requirement, environment, named)
    return named


def authorize(
    source: Source, principal: Principal, requirement: Requirement, environment: Environment, org_id: str | None
) -> None:
    """Let the principal pass, or raise; what it may not see is refused first, so that nothing is given away.

    Args:
        environment: that of the request.
        org_id: the organization that the request is about, or None where it is about none.

    Raises:
        OrgNotFound: there is no such organization for this principal.
        WrongEnvironment: an API key of the other environment.
        UserRequired, KeyRequired, OperatorRequired, MissingScope, OwnerRequired: not enough.
    """
    scopes = scopes_in(source, principal, org_id)
    require_environment(principal, requirement, environment)
    if requirement.user_only and not isinstance(principal, UserPrincipal):
        raise UserRequired("An API key cannot do this; sign in and use a CLI token.")
    if requirement.key_only and not isinstance(principal, KeyPrincipal):
        raise KeyRequired("Ask with an API key: it says which organization and environment are meant.")
    if requirement.operator_only and not (isinstance(principal, UserPrincipal) and principal.is_operator):
        raise OperatorRequired(
            "Only an operator of this server can do this. Someone with a shell there runs `flask users operator add`."
        )
    if requirement.scope is not None and requirement.scope not in scopes:
        held = ", ".join(scope for scope in Scope if scope in scopes)
        raise MissingScope(f"This needs the scope {requirement.scope}; the credential carries: {held}.")
    if requirement.owner_only and org_id is not None:
        _require_owner(source, principal, org_id)


def scopes_in(source: Source, principal: Principal, org_id: str | None) -> frozenset[Scope]:
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
        role = find_role(source, org_id, principal.user_id)
        if role is not None:
            return ROLE_SCOPES[role]
    raise OrgNotFound(f"There is no organization {org_id!r}, or this credential may not see it.")


def require_environment(principal: Principal, requirement: Requirement, environment: Environment) -> None:
    """Refuse an API key of the other environment; a user may use both.

    Raises:
        WrongEnvironment: it is one, or a test key would change what live and test share, or read about live.
    """
    if isinstance(principal, UserPrincipal) or requirement.key_only:
        return
    if principal.environment is not environment:
        paths = "paths under /sandbox" if principal.environment is Environment.TEST else "paths without /sandbox"
        raise WrongEnvironment(f"This is a {principal.environment} key: it works on {paths} only.")
    if requirement.changes_shared and environment is Environment.TEST:
        raise WrongEnvironment("A test key cannot change organizations or members: test and live share them.")
    if requirement.tells_of_both and environment is Environment.TEST:
        raise WrongEnvironment("A test key cannot read this: it tells of live and test alike. Use a live key.")


def still_may(
    session: AnySession, now: datetime, issuer_id: str, requirement: Requirement, environment: Environment, org_id: str
) -> bool:
    """Tell whether a user or an API key could still do what `requirement` asks for.

    It is asked when something that they issued is used, which may be much later.

    Args:
        issuer_id: of the user or of the API key.
    """
    try:
        authorize(session, _principal_of(session, now, issuer_id), requirement, environment, org_id)
    except (Unauthenticated, Forbidden, NotFound):
        return False
    return True


def _require_owner(source: Source, principal: Principal, org_id: str) -> None:
    role = find_role(source, org_id, principal.user_id) if isinstance(principal, UserPrincipal) else None
    if role is not Role.OWNER:
        raise OwnerRequired("Only the owner of the organization can do this.")


def _admit_to_resource(
    source: Source,
    principal: Principal,
    requirement: Requirement,
    environment: Environment,
    lookup: OwnerLookup,
    resource_id: str,
) -> str:
    org_id = lookup.find_org(source, resource_id)
    if org_id is not None:
        try:
            authorize(source, principal, requirement, environment, org_id)
        except OrgNotFound:
            org_id = None
    if org_id is None:
        raise lookup.not_found(
            f"There is no {environment} {lookup.resource} {resource_id!r}, or this credential may not see it."
        )
    return org_id


def _only_org(principal: Principal) -> str:
    if isinstance(principal, KeyPrincipal):
        return principal.org_id
    raise Invalid("Say which organization this is about: org_id.", field="org_id")


def _principal_of(session: AnySession, now: datetime, issuer_id: str) -> Principal:
    user = find_user(session, issuer_id, fresh=True)
    if user is None:
        return principal_of_key(session, now, issuer_id)
    if user.disabled_at is not None:
        raise Forbidden("This user is disabled.")
    return UserPrincipal(user.id, token_id="")
