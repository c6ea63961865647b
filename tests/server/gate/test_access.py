"""The rules themselves, and the order in which they are asked; every endpoint is tried in the access matrix."""

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import (
    Forbidden,
    MissingScope,
    MushuError,
    OrgNotFound,
    OwnerRequired,
    UserRequired,
    WrongEnvironment,
)
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.access import Requirement, authorize, scopes_in
from mushu.server.keys import Scope
from mushu.server.orgs.members import get_member, set_role
from mushu.server.orgs.models import Role
from tests.server.conftest import World

pytestmark = pytest.mark.database

LIVE, TEST = Environment.LIVE, Environment.TEST
OWNERS_ONLY = Requirement(Scope.ADMIN, user_only=True, owner_only=True, changes_shared=True)


def key_of(org_id: str, *scopes: Scope, environment: Environment = LIVE) -> KeyPrincipal:
    return KeyPrincipal("key_a", org_id, environment, scopes)


def outcome(
    principal: Principal, requirement: Requirement, org_id: str | None, environment: Environment = LIVE
) -> type[MushuError] | None:
    """Return the class of the refusal, or None where the principal passes."""
    with reading(db.session):
        try:
            authorize(db.session, principal, requirement, environment, org_id)
        except (Forbidden, OrgNotFound) as error:
            return type(error)
    return None


@pytest.mark.parametrize("needed", Scope)
@pytest.mark.parametrize("held", Scope)
def test_no_scope_implies_another(world: World, needed: Scope, held: Scope) -> None:
    assert outcome(key_of("org_a", held), Requirement(needed), "org_a") == (None if needed is held else MissingScope)


@pytest.mark.parametrize(
    ("role", "scopes"),
    [(Role.OWNER, {*Scope}), (Role.ADMIN, {*Scope}), (Role.MEMBER, {Scope.READ, Scope.WRITE})],
)
def test_a_role_carries_its_scopes(world: World, role: Role, scopes: set[Scope]) -> None:
    org = world.org()
    user = world.owner_of(org) if role is Role.OWNER else world.member(org, role)
    with reading(db.session):
        assert scopes_in(db.session, UserPrincipal(user.id, "tok_a"), org.id) == scopes


def test_a_change_of_role_counts_at_once(world: World) -> None:
    org = world.org()
    user = world.member(org, Role.MEMBER)
    principal = UserPrincipal(user.id, "tok_a")
    assert outcome(principal, Requirement(Scope.ADMIN), org.id) is MissingScope
    with writing(db.session):
        set_role(db.session, world.clock, SYSTEM, get_member(db.session, org.id, user.id), Role.ADMIN)
    assert outcome(principal, Requirement(Scope.ADMIN), org.id) is None


def test_what_may_not_be_seen_is_refused_before_all_else(world: World) -> None:
    org = world.org()
    for stranger in (key_of("org_b", environment=TEST), UserPrincipal(world.user().id, "tok_a")):
        assert outcome(stranger, OWNERS_ONLY, org.id) is OrgNotFound


def test_the_environment_is_asked_before_what_the_key_may_do(world: World) -> None:
    org = world.org()
    assert outcome(key_of(org.id, environment=TEST), OWNERS_ONLY, org.id, LIVE) is WrongEnvironment
    assert outcome(key_of(org.id, environment=LIVE), OWNERS_ONLY, org.id, TEST) is WrongEnvironment
    assert outcome(key_of(org.id, environment=TEST), OWNERS_ONLY, org.id, TEST) is WrongEnvironment
    assert outcome(key_of(org.id, environment=LIVE), OWNERS_ONLY, org.id, LIVE) is UserRequired


def test_a_token_may_use_both_environments(world: World) -> None:
    org = world.org()
    owner = UserPrincipal(world.owner_of(org).id, "tok_a")
    for environment in Environment:
        assert outcome(owner, OWNERS_ONLY, org.id, environment) is None


def test_only_the_owner_is_the_owner(world: World) -> None:
    org = world.org()
    admin = UserPrincipal(world.member(org, Role.ADMIN).id, "tok_a")
    assert outcome(admin, OWNERS_ONLY, org.id) is OwnerRequired
    # Also where a requirement forgot to say that a key cannot be one.
    assert outcome(key_of(org.id, *Scope), Requirement(Scope.ADMIN, owner_only=True), org.id) is OwnerRequired


def test_where_no_organization_is_named_the_scopes_of_the_key_count(world: World) -> None:
    assert outcome(key_of("org_a", Scope.READ), Requirement(Scope.READ), None) is None
    assert outcome(key_of("org_a", Scope.WRITE), Requirement(Scope.READ), None) is MissingScope
    assert outcome(UserPrincipal("usr_a", "tok_a"), Requirement(Scope.ADMIN, owner_only=True), None) is None


def test_the_refusal_says_what_is_needed_and_what_there_is(world: World) -> None:
    with pytest.raises(MissingScope, match="needs the scope admin; the credential carries: read, write"):
        authorize(db.session, key_of("org_a", Scope.WRITE, Scope.READ), Requirement(Scope.ADMIN), LIVE, "org_a")


@pytest.mark.parametrize(
    ("environment", "way"), [(TEST, "under /sandbox"), (LIVE, "without /sandbox")]
)  # fmt: skip
def test_the_refusal_says_where_the_key_works(world: World, environment: Environment, way: str) -> None:
    principal = key_of("org_a", *Scope, environment=environment)
    elsewhere = LIVE if environment is TEST else TEST
    with pytest.raises(WrongEnvironment, match=f"This is a {environment} key: it works on paths {way} only."):
        authorize(db.session, principal, Requirement(Scope.READ), elsewhere, "org_a")
