"""On PostgreSQL, what a proof rests on cannot change until its transaction ends."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import InstrumentedAttribute

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.core import db
from mushu.server.db import own_session, reading, writing
from mushu.server.gate import KeyPrincipal, UserPrincipal
from mushu.server.gate.access import Requirement
from mushu.server.gate.credential import Credential
from mushu.server.gate.principal import authenticate
from mushu.server.gate.proof import BrowserProof, RequestProof
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Membership, Organization
from mushu.server.tokens.models import BrowserSession, CliToken
from mushu.server.tokens.sessions import Visitor, start_session
from mushu.server.users.models import User
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.postgresql


def held(column: InstrumentedAttribute[str], value: str) -> bool:
    """Tell whether another transaction can no longer change these rows."""
    with own_session(db.engine) as other, writing(other):
        try:
            other.execute(select(column).where(column == value).with_for_update(nowait=True, key_share=True))
        except OperationalError as error:
            if "could not obtain lock" not in str(error):
                raise
            return True
    return False


def proof_of(
    world: World,
    clock: TurnableClock,
    credential: Credential,
    org_id: str,
    *,
    changes_shared: bool = False,
    **path: str,
) -> RequestProof:
    with reading(db.session):
        principal = authenticate(db.session, clock, credential)
    return RequestProof(
        clock=clock,
        read=lambda: credential,
        requirement=Requirement(Scope.READ, changes_shared=changes_shared),
        environment=Environment.LIVE,
        named=org_id,
        path=path,
        principal=principal,
        org_id=org_id,
        address=lambda: None,
    )


def test_a_users_token_role_and_account_wait(world: World, clock: TurnableClock) -> None:
    org = world.org()
    proof = proof_of(world, clock, Credential(Secret(world.token(world.owner_of(org))), is_key=False), org.id)
    assert isinstance(proof.principal, UserPrincipal)
    rows = [(CliToken.id, proof.principal.token_id), (User.id, proof.principal.user_id), (Membership.org_id, org.id)]
    assert [held(*row) for row in rows] == [False] * 3
    with writing(db.session):
        proof(db.session)
        assert [held(*row) for row in rows] == [True] * 3
    assert [held(*row) for row in rows] == [False] * 3


def test_a_key_waits(world: World, clock: TurnableClock) -> None:
    org = world.org()
    key, text = world.key(org, *Scope)
    proof = proof_of(world, clock, Credential(Secret(text), is_key=True), org.id)
    assert isinstance(proof.principal, KeyPrincipal)
    with writing(db.session):
        proof(db.session)
        assert held(ApiKey.id, key.id)
        assert not held(Organization.id, org.id)  # its name may change; its deletion takes a stronger lock


def test_a_browsers_session_waits(world: World, clock: TurnableClock) -> None:
    user = world.user()
    with writing(db.session):
        session, secret = start_session(db.session, clock, user, Visitor("192.0.2.7", "a browser"))
        session_id = session.id
    proof = BrowserProof(clock, secret, session_id, user.id)
    with writing(db.session):
        proof(db.session)
        assert held(BrowserSession.id, session_id)
        assert held(User.id, user.id)
