"""What a page permits is proven again inside the transaction that uses it."""

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import act_for, writing
from mushu.server.errors import MissingScope, MushuError, OperatorRequired, OrgNotFound, SessionEnded
from mushu.server.gate.access import Requirement
from mushu.server.gate.proof import BrowserProof, PageProof
from mushu.server.keys import Scope
from mushu.server.orgs.members import get_member, remove_member, set_role
from mushu.server.orgs.models import Role
from mushu.server.tokens.sessions import Visitor, end_session, start_session
from mushu.server.users.service import add_operator, get_user, remove_operator
from tests.server.conftest import World

pytestmark = pytest.mark.database


@pytest.mark.parametrize(
    ("end", "refusal"),
    [("session", SessionEnded), ("removed", OrgNotFound), ("demoted", MissingScope), ("nothing", None)],
)
def test_it_holds_for_as_long_as_session_membership_and_role_do(
    world: World, end: str, refusal: type[MushuError] | None
) -> None:
    org = world.org()
    admin = world.member(org, Role.ADMIN)
    with writing(db.session):
        row, secret = start_session(db.session, world.clock, admin, Visitor("192.0.2.1", "x"))
    with writing(db.session):
        if end == "session":
            end_session(db.session, world.clock, SYSTEM, admin.id, row.id)
        member = get_member(db.session, org.id, admin.id)
        if end == "removed":
            remove_member(db.session, world.clock, SYSTEM, member)
        if end == "demoted":
            set_role(db.session, world.clock, SYSTEM, member, Role.MEMBER)
    browser = BrowserProof(world.clock, secret, row.id, admin.id)
    needed = Requirement(Scope.ADMIN, user_only=True)
    act_for(db.session, PageProof(browser, needed, Environment.LIVE, org.id))
    try:
        if refusal is None:
            with writing(db.session):
                pass
        else:
            with pytest.raises(refusal), writing(db.session):
                pass
    finally:
        act_for(db.session, None)


@pytest.mark.parametrize("of_an_org", [True, False])
def test_what_is_for_operators_holds_for_as_long_as_one_is(world: World, of_an_org: bool) -> None:
    user = world.user()
    org = world.org(user)
    with writing(db.session):
        row, secret = start_session(db.session, world.clock, user, Visitor("192.0.2.1", "x"))
        add_operator(db.session, world.clock, SYSTEM, get_user(db.session, user.id))
    browser = BrowserProof(world.clock, secret, row.id, user.id)
    needed = Requirement(Scope.ADMIN if of_an_org else None, user_only=True, operator_only=True)
    proof = PageProof(browser, needed, Environment.LIVE, org.id if of_an_org else None)
    try:
        act_for(db.session, proof)
        with writing(db.session):
            remove_operator(db.session, world.clock, SYSTEM, get_user(db.session, user.id))
        with pytest.raises(OperatorRequired), writing(db.session):
            pass
    finally:
        act_for(db.session, None)
