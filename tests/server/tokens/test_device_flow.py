"""The device flow: each way it can end, and each way it must not."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.client_address import read_address
from mushu.server.core import db
from mushu.server.db import own_session, reading, writing
from mushu.server.errors import TooManyAttempts, UserCodeNotFound
from mushu.server.paging import Window
from mushu.server.tokens import device_flow
from mushu.server.tokens.device_flow import USER_CODE_LETTERS, DeviceError, Granted
from mushu.server.tokens.models import DeviceAuthorization
from mushu.server.tokens.service import list_tokens
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, enable_user, set_password
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


class Flow:
    """One run, from the side of the program and of the person."""

    def __init__(self, world: World, client_name: str | None = "ada@laptop") -> None:
        self.world = world
        with writing(db.session):
            self.authorization, self.device_code = device_flow.start(
                db.session, world.clock, read_address("192.0.2.1"), client_name
            )
        self.user_code = self.authorization.user_code

    def ask(self) -> Granted | DeviceError:
        with writing(db.session):
            return device_flow.ask(db.session, self.world.clock, self.device_code)

    def decide(self, user: User, *, approve: bool = True, user_code: str | None = None) -> None:
        with writing(db.session):
            device_flow.decide(db.session, self.world.clock, user, user_code or self.user_code, approve=approve)


@pytest.fixture
def flow(world: World) -> Flow:
    return Flow(world)


def test_approved_it_ends_in_a_token_of_who_approved_once(world: World, flow: Flow, clock: TurnableClock) -> None:
    user = world.user()
    with reading(db.session):
        row = db.session.get_one(DeviceAuthorization, flow.authorization.id)
    assert flow.device_code.matches(row.device_code_digest)
    assert flow.ask() is DeviceError.AUTHORIZATION_PENDING
    flow.decide(user)
    clock.turn(seconds=5)
    granted = flow.ask()
    assert isinstance(granted, Granted)
    assert granted.token.user_id == user.id
    assert granted.token.client_name == "ada@laptop"
    assert granted.secret.matches(granted.token.digest)
    clock.turn(seconds=10)
    assert flow.ask() is DeviceError.INVALID_GRANT


@pytest.mark.postgresql
def test_who_asks_with_a_device_code_holds_its_row(world: World, flow: Flow) -> None:
    """Else two questions of one moment would both be in time, and a row that is deleted meanwhile would be a crash."""
    mine = select(DeviceAuthorization.id).where(DeviceAuthorization.id == flow.authorization.id)
    with writing(db.session):
        assert device_flow.ask(db.session, world.clock, flow.device_code) is DeviceError.AUTHORIZATION_PENDING
        refused = pytest.raises(OperationalError, match="could not obtain lock")
        with own_session(db.engine) as other, refused, writing(other):
            other.execute(mine.with_for_update(nowait=True))


def test_denied_it_stays_denied(world: World, flow: Flow, clock: TurnableClock) -> None:
    user = world.user()
    flow.decide(user, approve=False)
    assert flow.ask() is DeviceError.ACCESS_DENIED
    clock.turn(seconds=10)
    with pytest.raises(UserCodeNotFound):
        flow.decide(user)
    assert flow.ask() is DeviceError.ACCESS_DENIED


def test_it_is_over_after_ten_minutes_whatever_its_state(world: World, clock: TurnableClock) -> None:
    waiting, approved = Flow(world), Flow(world)
    user = world.user()
    approved.decide(user)
    clock.turn(minutes=10)
    assert waiting.ask() is approved.ask() is DeviceError.EXPIRED_TOKEN
    with pytest.raises(UserCodeNotFound):
        waiting.decide(user)


def test_asking_too_soon_makes_the_interval_longer_and_a_polite_program_is_never_told_so(
    flow: Flow, clock: TurnableClock
) -> None:
    pending, slow = DeviceError.AUTHORIZATION_PENDING, DeviceError.SLOW_DOWN
    for _ in range(20):
        assert flow.ask() is pending
        clock.turn(seconds=device_flow.INTERVAL)
    answers = []
    for seconds in (0, 1, 5, 9, 10, 14):
        clock.turn(seconds=seconds)
        answers.append(flow.ask())
    assert answers == [pending, slow, slow, slow, slow, slow]
    clock.turn(seconds=30)
    assert flow.ask() is pending


def test_an_unknown_device_code_is_an_invalid_grant(world: World, flow: Flow) -> None:
    for code in (generate(Prefix.DEVICE_CODE), Secret(""), Secret(flow.user_code)):
        flow.device_code = code
        assert flow.ask() is DeviceError.INVALID_GRANT


@pytest.mark.fault
@pytest.mark.parametrize("end", ["password", "disabled", "enabled again"])
def test_an_approval_ends_with_the_password_or_with_the_user(
    world: World, flow: Flow, clock: TurnableClock, end: str
) -> None:
    user = world.user()
    flow.decide(user)
    clock.turn(seconds=1)
    with writing(db.session):
        if end == "password":
            set_password(db.session, world.clock, SYSTEM, user, "another hash")
        else:
            disable_user(db.session, world.clock, SYSTEM, user)
        if end == "enabled again":
            enable_user(db.session, world.clock, SYSTEM, user)
    assert flow.ask() is DeviceError.ACCESS_DENIED
    with reading(db.session):
        assert not list_tokens(db.session, clock, user.id, Window()).rows


def test_a_decision_that_another_page_took_a_moment_before_is_not_taken_again(
    world: World, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, ada = world.user(), world.user()
    flow.decide(ada)
    monkeypatch.setattr(device_flow, "get_waiting", lambda *_: flow.authorization)  # both had looked before
    with pytest.raises(UserCodeNotFound):
        flow.decide(mallory)
    granted = flow.ask()
    assert isinstance(granted, Granted)
    assert granted.user.id == ada.id


def test_of_two_programs_that_ask_at_once_only_one_gets_a_token(
    world: World, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.decide(world.user())
    monkeypatch.setattr(device_flow, "_move", lambda *_: False)  # the other one was a moment faster
    assert flow.ask() is DeviceError.INVALID_GRANT


@pytest.mark.parametrize("typed", ["{0}-{1}", "{0}{1}", " {0} {1} ", "{0}–{1}"])
def test_a_person_may_type_the_code_as_they_like(world: World, flow: Flow, typed: str) -> None:
    code = typed.format(flow.user_code[:4], flow.user_code[4:])
    flow.decide(world.user(), user_code=code.lower())
    assert isinstance(flow.ask(), Granted)


@pytest.mark.parametrize("typed", ["", "BCDF", "%", "BCDFGHJK'--", "\x00", "B" * 500])
def test_a_code_that_nobody_waits_for_is_not_found(world: World, flow: Flow, typed: str) -> None:
    with pytest.raises(UserCodeNotFound), reading(db.session):
        device_flow.get_waiting(db.session, world.clock, typed)


def test_codes_are_eight_letters_that_cannot_be_misread(world: World) -> None:
    codes = {Flow(world).user_code for _ in range(30)}
    assert len(codes) == 30
    assert all(len(code) == 8 and set(code) <= set(USER_CODE_LETTERS) for code in codes)
    assert not set("AEIOU0Y1") & set(USER_CODE_LETTERS)


def test_one_address_cannot_fill_the_table(world: World, clock: TurnableClock) -> None:
    for _ in range(50):
        Flow(world)
    with pytest.raises(TooManyAttempts):
        Flow(world)
    clock.turn(minutes=21)
    Flow(world)
    with reading(db.session):
        assert len(db.session.scalars(select(DeviceAuthorization)).all()) == 1


def start_from(world: World, address: str | None) -> DeviceAuthorization:
    with writing(db.session):
        return device_flow.start(db.session, world.clock, read_address(address), None)[0]


@pytest.mark.fault
def test_a_network_of_ipv6_is_one_address(world: World) -> None:
    for number in range(50):
        start_from(world, f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyAttempts):
        start_from(world, "2001:db8:1:2:ffff::1")
    shown = start_from(world, "2001:db8:1:3::1").address
    assert shown == "2001:db8:1:3::1", "a person who approves sees the whole address"


@pytest.mark.fault
def test_many_networks_cannot_fill_the_table_either_and_what_was_approved_stays(
    world: World, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_flow, "MOST_ROWS", 20, raising=False)
    approved = Flow(world)
    approved.decide(world.user(), approve=True)
    for number in range(60):
        clock.turn(seconds=1)
        last = start_from(world, f"2001:db8:{number:x}::1")
    with reading(db.session):
        kept = set(db.session.scalars(select(DeviceAuthorization.id)))
    assert len(kept) == 20
    assert {approved.authorization.id, last.id} <= kept


@pytest.mark.fault
def test_who_has_no_address_takes_the_place_of_the_oldest_who_has_none(
    world: World, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_flow, "MOST_WITHOUT_ADDRESS", 5, raising=False)
    other, first = start_from(world, "192.0.2.1"), start_from(world, None)
    for _ in range(5):
        clock.turn(seconds=1)
        last = start_from(world, None)
    with reading(db.session):
        kept = set(db.session.scalars(select(DeviceAuthorization.id)))
    assert len(kept) == 6
    assert {other.id, last.id} <= kept
    assert first.id not in kept
