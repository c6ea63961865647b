"""Keys that a client delivers: inert until proven, and never pending forever."""

from dataclasses import replace

import pytest

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret, digest_of
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import reading, writing
from mushu.server.delivery.ledger import delivered_to, list_deliveries
from mushu.server.delivery.reconciler import Finding, Reconciler, Verdict
from mushu.server.errors import Invalid, WrongState
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import get_key
from mushu.server.keys.states import State
from mushu.server.lifecycle.confirm import CONFIRM_WITHIN, Proof, confirm
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.verbs import BY_CLIENT, issue_key

pytestmark = pytest.mark.database

PLACE = "env:/home/ada/app/.env#MUSHU_API_KEY"


@pytest.fixture
def minted(world: World) -> tuple[ApiKey, Secret]:
    request = KeyRequest(org_id=world.org().id, name="k")
    answer = issue(context_for(SYSTEM), request, BY_CLIENT)
    assert answer.secret is not None
    db.session.expunge(answer.key)  # it stays as it was answered, whatever ends with an error
    return answer.key, answer.secret


def report(key: ApiKey, *proofs: Proof) -> ApiKey:
    return confirm(context_for(SYSTEM), key.id, proofs)


def state(key: ApiKey) -> str:
    with reading(db.session):
        return get_key(db.session, key.id).stored_state


def settle(world: World) -> list[Finding]:
    return Reconciler(db.session, world.clock, SYSTEM, world.core.open_destination).settle_all()


def test_it_is_active_once_the_client_proved_it(world: World, minted: tuple[ApiKey, Secret]) -> None:
    key, secret = minted
    assert state(key) == State.PENDING
    assert report(key, Proof(PLACE, secret.digest())).stored_state == State.ACTIVE
    with reading(db.session):
        assert delivered_to(db.session, [key.id]) == {key.id: [PLACE]}
        (delivery,) = list_deliveries(db.session, [key.id])
    assert delivery.on_client


def test_several_places_are_all_proven_or_none(world: World, minted: tuple[ApiKey, Secret]) -> None:
    key, secret = minted
    wrong = Proof("env:/b#X", digest_of("something else"))
    with pytest.raises(Invalid):
        report(key, Proof(PLACE, secret.digest()), wrong)
    assert state(key) == State.PENDING
    report(key, Proof(PLACE, secret.digest()), Proof("env:/b#X", secret.digest()))
    assert state(key) == State.ACTIVE


@pytest.mark.parametrize(
    "place",
    ["", "x" * 1_001, "env:/a\nb", "env:/a\x1b[31m", generate(Prefix.LIVE_KEY).reveal()],
    ids=["empty", "long", "two lines", "escape", "key"],
)
def test_a_place_that_is_no_label_is_refused(world: World, minted: tuple[ApiKey, Secret], place: str) -> None:
    key, secret = minted
    with pytest.raises(Invalid):
        report(key, Proof(place, secret.digest()))
    assert state(key) == State.PENDING


def test_no_proof_a_wrong_one_and_the_same_place_twice_are_refused(world: World, minted: tuple[ApiKey, Secret]) -> None:
    key, secret = minted
    right = Proof(PLACE, secret.digest())
    for proofs in (
        [],
        [Proof(PLACE, "")],
        [Proof(PLACE, secret.digest().upper())],
        [Proof(PLACE, "é")],
        [right, right],
    ):
        with pytest.raises(Invalid):
            report(key, *proofs)
    assert state(key) == State.PENDING


def test_said_twice_it_is_done_once(world: World, minted: tuple[ApiKey, Secret]) -> None:
    key, secret = minted
    for _ in range(2):
        assert report(key, Proof(PLACE, secret.digest())).stored_state == State.ACTIVE
    with reading(db.session):
        assert len(list_deliveries(db.session, [key.id])) == 1


def test_a_client_that_died_leaves_a_key_that_fails_by_itself(
    world: World, minted: tuple[ApiKey, Secret], clock: TurnableClock
) -> None:
    key, secret = minted
    clock.turn(seconds=CONFIRM_WITHIN.total_seconds() - 1)
    assert settle(world) == []
    assert state(key) == State.PENDING
    clock.turn(seconds=1)
    with pytest.raises(WrongState, match="confirmed by"):
        report(key, Proof(PLACE, secret.digest()))
    assert [finding.verdict for finding in settle(world)] == [Verdict.FAILED]
    assert state(key) == State.FAILED
    with pytest.raises(WrongState):
        report(key, Proof(PLACE, secret.digest()))


def test_a_key_that_was_not_minted_for_a_client_is_not_activated_by_one(world: World) -> None:
    request = KeyRequest(org_id=world.org().id, name="k")
    with writing(db.session):
        key, secret = issue_key(db.session, world.clock, SYSTEM, request)
    with pytest.raises(WrongState):
        report(key, Proof(PLACE, secret.digest()))


def test_a_deleted_key_stays_deleted_and_the_server_never_opens_a_clients_place(
    world: World, minted: tuple[ApiKey, Secret]
) -> None:
    key, secret = minted
    report(key, Proof(PLACE, secret.digest()))

    def never(uri: str) -> None:
        pytest.fail(f"the server opened {uri}")

    _, findings = delete(replace(context_for(SYSTEM), open_destination=never), key.id)  # type: ignore[arg-type]
    assert findings == []
    with pytest.raises(WrongState):
        report(key, Proof(PLACE, secret.digest()))
    assert Reconciler(db.session, world.clock, SYSTEM, never).settle_all() == []  # type: ignore[arg-type]
