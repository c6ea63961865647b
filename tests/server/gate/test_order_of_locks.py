"""On PostgreSQL, of two transactions that change the same, one waits before it holds what the other needs.

Each test stops one transaction where two used to wait for each other, and lets another come. That one must be kept
waiting at its first step: it holds nothing then that the first transaction still asks for.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import AnySession, Proof, own_session, reading, writing
from mushu.server.delivery.protocol import Courier
from mushu.server.gate.access import Requirement
from mushu.server.gate.credential import Credential
from mushu.server.gate.proof import BrowserProof, PageProof, RequestProof
from mushu.server.keys import Scope, retirement, revocation_journal
from mushu.server.keys.locking import lock_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import RotationRequest, Terms, begin
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.delete import delete_org, revoke_key
from mushu.server.lifecycle.rotate import rotate
from mushu.server.orgs.members import find_member, set_role
from mushu.server.orgs.models import Organization, Role
from mushu.server.orgs.service import refuse_too_many
from mushu.server.tokens.sessions import Visitor, start_session
from mushu.server.users.service import lock_user
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.gate.test_proof import proof_of
from tests.server.statements import statements
from tests.server.verbs import SHOWN

#: The table of a statement that locks rows, all in one line.
LOCKED = re.compile(r"FROM (\w+)\s.* FOR (?:NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)$", re.DOTALL)

pytestmark = [pytest.mark.postgresql, pytest.mark.fault]


@contextmanager
def another() -> Iterator[AnySession]:
    """A transaction that comes meanwhile; it gives up at once where it has to wait, and is rolled back."""
    with own_session(db.engine) as session, session.begin():
        session.execute(text("SET LOCAL lock_timeout = 1"))
        yield session
        session.rollback()


def waits(act: Callable[[AnySession], object]) -> bool:
    with another() as session:
        try:
            act(session)
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise
            return True
    return False


@pytest.fixture
def org(world: World) -> Organization:
    return world.org()


Acting = Callable[..., RequestProof]


@pytest.fixture
def by_key(world: World, clock: TurnableClock, org: Organization) -> Acting:
    """Return the proof of a request that a key makes."""
    return lambda secret, **path: proof_of(world, clock, Credential(Secret(secret), is_key=True), org.id, **path)


def test_a_key_that_rotates_or_deletes_itself_twice(
    world: World, clock: TurnableClock, org: Organization, by_key: Acting
) -> None:
    key, secret = world.key(org, *Scope)
    proof = by_key(secret, key_id=key.id)
    with writing(db.session):
        proof(db.session)
        assert waits(proof), "two that share the key's lock wait for each other once both want it alone"
        begin(db.session, clock, SYSTEM, key.id, Terms())
        revoke_key(db.session, clock, SYSTEM, key.id)


def test_two_keys_that_change_each_other(world: World, clock: TurnableClock, org: Organization, by_key: Acting) -> None:
    (older, first), (younger, second) = world.key(org, *Scope), world.key(org, *Scope)
    proof, crossing = by_key(first, key_id=younger.id), by_key(second, key_id=older.id)
    with writing(db.session):
        proof(db.session)
        assert waits(crossing)
        lock_key(db.session, younger.id)


def test_a_key_is_held_by_none_of_another_organization(world: World, org: Organization, by_key: Acting) -> None:
    (_, secret), (other, _) = world.key(org, *Scope), world.key(world.org(name="beta"))
    proof = by_key(secret, key_id=other.id)
    with writing(db.session):
        proof(db.session)
        assert not waits(lambda session: lock_key(session, other.id))


def test_keys_that_change_no_key_share_their_lock(world: World, org: Organization, by_key: Acting) -> None:
    _, secret = world.key(org, *Scope)
    proof = by_key(secret)
    with writing(db.session):
        proof(db.session)
        assert not waits(proof)


def test_a_client_that_confirms_holds_the_older_key_first(
    world: World, clock: TurnableClock, org: Organization, by_key: Acting
) -> None:
    key, _ = world.key(org)
    with writing(db.session):
        successor, _ = begin(db.session, clock, SYSTEM, key.id, Terms())
    proof = by_key(world.key(org, *Scope)[1], key_id=successor.id)
    with writing(db.session):
        lock_key(db.session, key.id)  # a change of its limits, which goes on to the successor
        assert waits(proof)
        lock_key(db.session, successor.id)


def test_what_a_permission_rests_on_is_locked_in_this_order(
    world: World, clock: TurnableClock, org: Organization, by_key: Acting
) -> None:
    """A browser that revokes a token holds the user, too, when it comes to the token."""

    def order(proof: Proof) -> list[str]:
        with statements(db.engine) as asked, writing(db.session):
            proof(db.session)
        return [found[1] for one in asked if (found := LOCKED.search(one))]

    owner = world.owner_of(org)
    token = proof_of(world, clock, Credential(Secret(world.token(owner)), is_key=False), org.id, user_id=owner.id)
    assert order(token) == ["users", "cli_tokens", "organizations", "memberships"]
    key, secret = world.key(org, *Scope)
    named = by_key(secret, key_id=key.id, user_id=owner.id)
    assert order(named) == ["organizations", "memberships", "api_keys"]
    with writing(db.session):
        session, text_of_session = start_session(db.session, clock, owner, Visitor("192.0.2.7", "a browser"))
    browser = BrowserProof(clock, text_of_session, session.id, owner.id)
    page = PageProof(browser, Requirement(Scope.ADMIN), Environment.LIVE, org.id)
    assert order(page) == ["users", "browser_sessions", "organizations", "memberships"]


def test_two_admins_who_change_each_other(world: World, clock: TurnableClock, org: Organization) -> None:
    alice, bob = world.member(org, Role.ADMIN), world.member(org, Role.ADMIN)

    def acting(who: str, whom: str) -> RequestProof:
        user = alice if who == alice.id else bob
        token = Credential(Secret(world.token(user)), is_key=False)
        return proof_of(world, clock, token, org.id, changes_shared=True, user_id=whom)

    first, second = acting(alice.id, bob.id), acting(bob.id, alice.id)
    with writing(db.session):
        first(db.session)
        assert waits(second)
        member = find_member(db.session, org.id, bob.id)
        assert member is not None
        set_role(db.session, clock, SYSTEM, member, Role.MEMBER)


def test_who_is_to_own_an_organization_is_counted_alone_and_not_kept_from_acting(
    world: World, clock: TurnableClock
) -> None:
    user = world.user()
    with writing(db.session):
        refuse_too_many(db.session, clock, user.id, 9)
        assert waits(lambda session: refuse_too_many(session, clock, user.id, 9))
        assert not waits(lambda session: lock_user(session, user.id))


def test_a_rotation_holds_its_key_before_its_places(
    world: World, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = world.key(org)
    held: list[bool] = []
    claim = lambda *_: held.append(waits(lambda session: lock_key(session, key.id)))  # noqa: E731
    monkeypatch.setattr(Courier, "claim", claim)
    rotate(context_for(SYSTEM), RotationRequest(key_id=key.id, terms=Terms()), SHOWN)
    assert held == [True]


def test_first_uses_hold_all_keys_before_they_change_one(
    world: World, clock: TurnableClock, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [world.key(org)[0].id]
    for _ in range(2):  # the last successor is used, the one before it never was
        rotation = RotationRequest(key_id=chain[-1], terms=Terms())
        chain.append(rotate(context_for(SYSTEM), rotation, SHOWN).key.id)
    held: list[bool] = []

    def look(session: AnySession, key_id: str) -> ApiKey:
        held.extend(waits(partial(lock_key, key_id=older)) for older in chain[:2])
        return lock_key(session, key_id)

    monkeypatch.setattr(retirement, "lock_key", look)
    with writing(db.session):
        retirement.note_first_uses(db.session, {chain[-1]: clock()})
    assert held == [True] * 4
    with reading(db.session):
        assert all(get_key(db.session, key_id).retires_at is not None for key_id in chain[:2])


def test_an_organization_that_is_deleted_ends_the_older_key_first(
    world: World, clock: TurnableClock, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    keys = []
    for _ in range(3):
        keys.append(world.key(org)[0].id)
        clock.turn(seconds=1)
    monkeypatch.setattr("mushu.server.lifecycle.delete.revoke_key", lambda *given: ended.append(given[-1]))
    delete_org(context_for(SYSTEM), org.id, [])
    assert ended == keys


def test_a_deletion_holds_the_journal_before_others_see_that_it_has_grown(
    world: World, clock: TurnableClock, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = world.key(org)
    followers: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: followers.append(waits(revocation_journal.hold)))
    with writing(db.session):
        revoke_key(db.session, clock, SYSTEM, key.id)
    assert followers[-1]
