"""A credential proves a principal, or says what is the matter with it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from mushu.environment import Environment
from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import Core, db
from mushu.server.db import reading, writing
from mushu.server.errors import DeletedCredential, ExpiredCredential, MushuError, Unauthenticated, UnknownCredential
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.credential import Credential
from mushu.server.gate.principal import authenticate
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, DISABLE, ENABLE, END_RETIREMENT, RETIRE, State, Transition
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.conftest import World, api_key, bearer, quiet_app
from tests.server.statements import statements


def look_up(clock: TurnableClock, plaintext: str, *, is_key: bool = True) -> Principal:
    with reading(db.session):
        return authenticate(db.session, clock, Credential(Secret(plaintext), is_key))


def change(clock: TurnableClock, key_id: str, transition: Transition) -> None:
    with writing(db.session):
        change_state(db.session, clock, SYSTEM, key_id, transition)


def test_a_key_proves_its_id_organization_environment_and_scopes_and_acts_in_its_name(
    world: World, clock: TurnableClock
) -> None:
    org = world.org()
    for environment in Environment:
        key, plaintext = world.key(org, Scope.READ, Scope.ADMIN, environment=environment)
        expected = KeyPrincipal(key.id, org.id, environment, (Scope.READ, Scope.ADMIN))
        assert look_up(clock, plaintext) == expected
        assert expected.actor == Actor(ActorKind.API_KEY, key.id)


def test_a_token_proves_its_user_and_acts_in_their_name(world: World, clock: TurnableClock) -> None:
    user = world.user()
    principal = look_up(clock, world.token(user), is_key=False)
    assert isinstance(principal, UserPrincipal)
    assert principal.user_id == user.id
    assert principal.actor == Actor(ActorKind.USER, user.id)


def test_it_takes_one_query(world: World, clock: TurnableClock) -> None:
    _, plaintext = world.key(world.org())
    with statements(db.engine) as asked:
        look_up(clock, plaintext)
    assert [statement.split()[0] for statement in asked if not statement.startswith("BEGIN")] == ["SELECT"]


def test_a_key_ends_at_its_expiry_and_not_a_moment_before(world: World, clock: TurnableClock) -> None:
    _, plaintext = world.key(world.org(), lives_seconds=60)
    clock.turn(seconds=59.999999)
    look_up(clock, plaintext)
    clock.turn(microseconds=1)
    with pytest.raises(ExpiredCredential, match="expired at 2026-01-15T10:31:00Z"):
        look_up(clock, plaintext)


def test_a_token_ends_after_exactly_twelve_hours(world: World, clock: TurnableClock) -> None:
    token = world.token(world.user())
    clock.turn(hours=12, microseconds=-1)
    look_up(clock, token, is_key=False)
    clock.turn(microseconds=1)
    with pytest.raises(ExpiredCredential, match="12 hours"):
        look_up(clock, token, is_key=False)


def test_a_key_enabled_again_works_again_and_so_does_a_retiring_one(world: World, clock: TurnableClock) -> None:
    key, plaintext = world.key(world.org())
    for transition in (DISABLE, ENABLE):
        change(clock, key.id, transition)
    assert isinstance(look_up(clock, plaintext), KeyPrincipal)
    change(clock, key.id, RETIRE)
    assert isinstance(look_up(clock, plaintext), KeyPrincipal)


@pytest.mark.parametrize("before", ["disabled", "expired"])
def test_a_deleted_key_is_called_deleted_whatever_it_was_before(
    world: World, clock: TurnableClock, before: str
) -> None:
    key, plaintext = world.key(world.org(), lives_seconds=60)
    if before == "disabled":
        change(clock, key.id, DISABLE)
    else:
        clock.turn(seconds=61)
    change(clock, key.id, DELETE)
    with pytest.raises(DeletedCredential):
        look_up(clock, plaintext)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.ACTIVE, State.RETIRING)])
def test_no_other_state_authenticates(world: World, clock: TurnableClock, state: State) -> None:
    key, plaintext = world.key(world.org())
    change(clock, key.id, Transition("key.forced", frozenset(State), state))
    with pytest.raises(Unauthenticated):
        look_up(clock, plaintext)


def test_a_credential_of_nobody_and_one_of_the_other_kind_are_unknown(world: World, clock: TurnableClock) -> None:
    org = world.org()
    token, (_, plaintext) = world.token(world.owner_of(org)), world.key(org)
    of_nobody = [
        (generate(prefix).reveal(), prefix is not Prefix.CLI_TOKEN)
        for prefix in (Prefix.LIVE_KEY, Prefix.TEST_KEY, Prefix.CLI_TOKEN)
    ]
    for secret, is_key in [(token, True), (plaintext, False), *of_nobody]:
        with pytest.raises(UnknownCredential) as caught:
            look_up(clock, secret, is_key=is_key)
        assert caught.value.code == "unknown_credential"


def test_no_refusal_holds_the_credential(world: World, clock: TurnableClock) -> None:
    key, plaintext = world.key(world.org(), lives_seconds=60)
    key_id = key.id
    clock.turn(seconds=60)
    faults: list[MushuError] = []
    for transition in (None, DISABLE, DELETE):
        if transition is not None:
            change(clock, key_id, transition)
        with pytest.raises(Unauthenticated) as caught:
            look_up(clock, plaintext)
        faults.append(caught.value)
    assert [fault.code for fault in faults] == ["expired_credential", "disabled_credential", "deleted_credential"]
    assert not any(plaintext in fault.detail for fault in faults)


def test_a_retiring_key_works_until_the_moment_it_retires_and_not_in_it(world: World, clock: TurnableClock) -> None:
    key, plaintext = world.key(world.org())
    key_id = key.id
    change(clock, key_id, RETIRE)
    with writing(db.session):
        db.session.get_one(ApiKey, key_id).retires_at = clock() + timedelta(hours=1)
    clock.turn(hours=1, microseconds=-1)
    assert isinstance(look_up(clock, plaintext), KeyPrincipal)
    clock.turn(microseconds=1)
    with pytest.raises(DeletedCredential, match="was rotated") as before:
        look_up(clock, plaintext)
    change(clock, key_id, END_RETIREMENT)  # written down later, it is told in the same words
    with pytest.raises(DeletedCredential) as after:
        look_up(clock, plaintext)
    assert before.value.detail == after.value.detail


def test_a_retiring_key_without_a_moment_works_until_it_expires(world: World, clock: TurnableClock) -> None:
    key, plaintext = world.key(world.org(), lives_seconds=3_600)
    change(clock, key.id, RETIRE)
    clock.turn(hours=1, microseconds=-1)
    assert isinstance(look_up(clock, plaintext), KeyPrincipal)
    clock.turn(microseconds=1)
    with pytest.raises(ExpiredCredential):
        look_up(clock, plaintext)


@pytest.mark.postgresql
def test_a_key_that_another_machine_ended_is_refused_on_the_next_request_of_each(
    client: FlaskClient, core: Core, world: World, tmp_path: Path
) -> None:
    elsewhere = quiet_app(replace(core, settings=replace(core.settings, instance_path=tmp_path / "another machine")))
    machines = client, elsewhere.test_client()
    org = world.org()
    owner, path = bearer(world.token(world.owner_of(org))), f"/orgs/{org.id}"
    for number in range(times(6, 1_000)):
        key, plaintext = world.key(org)
        asked = [machine.get(path, headers=api_key(plaintext)).status_code for machine in machines * 2]
        ended = machines[number % 2].delete(f"{path}/api-keys/{key.id}", headers=owner).status_code
        late = [machine.get(path, headers=api_key(plaintext)).status_code for machine in machines]
        assert (asked, ended, late) == ([200] * 4, 200, [401] * 2)
    with elsewhere.app_context():
        db.engine.dispose()
