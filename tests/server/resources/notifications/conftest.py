"""Tenants, devices and a stand-in for Apple, with a dispatcher between them that never really waits."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import Core, db
from mushu.server.db import reading, writing
from mushu.server.environments import set_environment, within
from mushu.server.idempotency import IdempotencyMark
from mushu.server.paging import Window
from mushu.server.resources.apple_credentials import ApnsCredentials
from mushu.server.resources.devices import DeviceRow, Registration, find_device, register_device
from mushu.server.resources.notifications import outcomes
from mushu.server.resources.notifications.apns import Hosts
from mushu.server.resources.notifications.dispatch import Dispatcher
from mushu.server.resources.notifications.models import NotificationRow, SendingRow
from mushu.server.resources.notifications.sender import Sender, Timing
from mushu.server.resources.notifications.service import NotificationRequest
from mushu.server.resources.tenants import TenantRequest, TenantRow, create_tenant
from tests.cli.certificates import certificates
from tests.conftest import TurnableClock
from tests.server.conftest import World, quiet_app, settings_on
from tests.server.resources.notifications.stand_in import StandIn

LIVE, TEST = Environment.LIVE, Environment.TEST
TOKEN = "a1" * 32


@dataclass
class Waiting:
    """A clock that only sleeping turns."""

    seconds: float = 0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    @property
    def timing(self) -> Timing:
        return Timing(self.sleep, self.now, lambda: 0.5, attempt_seconds=60, total_seconds=60)


@pytest.fixture(scope="module")
def _house(tmp_path_factory: pytest.TempPathFactory, database_template: str | Path) -> Iterator[tuple[Core, World]]:
    """An application that the tests of a module share: each brings its own organization."""
    folder = tmp_path_factory.mktemp("house")
    clock = TurnableClock()
    core = Core(settings_on(folder / "instance", database_template), clock)
    app = quiet_app(core)
    with app.app_context():
        yield core, World(clock, core)
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def clock(_house: tuple[Core, World]) -> TurnableClock:
    """The clock of the application, at the same moment for each test."""
    clock = cast(TurnableClock, _house[0].clock)
    clock.now = TurnableClock().now
    return clock


@pytest.fixture
def mark() -> IdempotencyMark:
    return IdempotencyMark(secrets.token_hex(32), "d" * 64)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates made for this run are believed, and no proxy of whoever runs the tests is asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates() / "own.pem"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def apple(_trusted: None, clock: TurnableClock) -> Iterator[StandIn]:
    """Apple's production."""
    stand_in = StandIn(clock)
    yield stand_in
    stand_in.close()
    assert stand_in.problems == []


@pytest.fixture
def sandbox(_trusted: None, clock: TurnableClock) -> Iterator[StandIn]:
    """Apple's sandbox."""
    stand_in = StandIn(clock)
    yield stand_in
    stand_in.close()
    assert stand_in.problems == []


@pytest.fixture
def sender(clock: TurnableClock, waiting: Waiting) -> Iterator[Sender]:
    sender = Sender(clock, waiting.timing)
    yield sender
    sender.close()


@dataclass
class Post:
    """Makes tenants and devices, and sends to them."""

    world: World
    clock: TurnableClock
    dispatcher: Dispatcher

    def tenant(
        self, credentials: ApnsCredentials | None, *, bundle_id: str = "com.example.shop", use_sandbox: bool = False
    ) -> TenantRow:
        org = self.world.org()
        request = TenantRequest(org_id=org.id, bundle_id=bundle_id, credentials=credentials, use_sandbox=use_sandbox)
        with writing(db.session):
            return create_tenant(db.session, self.clock, SYSTEM, self.world.core.sealing_keys, request)

    def device(self, tenant: TenantRow, token: str = TOKEN, user_id: str = "ada") -> str:
        registration = Registration(tenant_id=tenant.id, user_id=user_id, token=token)
        with writing(db.session):
            return register_device(db.session, self.clock, registration).token

    def has(self, tenant: TenantRow, token: str = TOKEN) -> DeviceRow | None:
        with reading(db.session):
            return find_device(db.session, tenant.id, token)

    def request(
        self, tenant: TenantRow, user_ids: Sequence[str] = ("ada",), payload: dict[str, Any] | None = None
    ) -> NotificationRequest:
        payload = payload or {"aps": {"alert": {"title": "Hello"}}}
        return NotificationRequest(tenant_id=tenant.id, user_ids=user_ids, payload=payload, actor=SYSTEM)

    def send(
        self, tenant: TenantRow, user_ids: Sequence[str] = ("ada",), payload: dict[str, Any] | None = None
    ) -> list[SendingRow]:
        """Send, and return what became of it, row by row."""
        return self.rows(self.dispatcher.dispatch(self.request(tenant, user_ids, payload)))

    def rows(self, notification: NotificationRow) -> list[SendingRow]:
        with reading(db.session):
            return list(outcomes.list_sendings(db.session, notification, Window(500))[0])

    def with_sender(self, sender: Sender) -> "Post":
        return replace(self, dispatcher=replace(self.dispatcher, sender=sender))


@pytest.fixture
def post(_house: tuple[Core, World], clock: TurnableClock, sender: Sender) -> Iterator[Post]:
    """Sends in live, to nowhere: tests that send name hosts."""
    core, world = _house
    nowhere = "https://127.0.0.1:9"
    dispatcher = Dispatcher(db.session, clock, core.sealing_keys, Hosts(nowhere, nowhere), sender)
    with within(db.session, LIVE):
        yield Post(world, clock, dispatcher)
    db.session.remove()


@pytest.fixture
def live(post: Post, apple: StandIn, sandbox: StandIn) -> Post:
    """Sends in live, with both hosts there."""
    return replace(post, dispatcher=replace(post.dispatcher, hosts=Hosts(apple.url, sandbox.url)))


@dataclass
class OneDevice:
    """A tenant that Apple knows, and the one device that its user has."""

    post: Post
    tenant: TenantRow

    def send(self, payload: dict[str, Any] | None = None) -> SendingRow:
        (row,) = self.post.send(self.tenant, payload=payload)
        return row

    def register(self) -> None:
        self.post.device(self.tenant)

    def has(self) -> bool:
        return self.post.has(self.tenant) is not None

    def with_sender(self, sender: Sender) -> "OneDevice":
        return replace(self, post=self.post.with_sender(sender))


@pytest.fixture
def phone(live: Post, apple: StandIn) -> OneDevice:
    found = OneDevice(live, live.tenant(apple.credentials()))
    found.register()
    return found


@pytest.fixture
def test(live: Post) -> Iterator[Post]:
    """Sends in test, with both hosts there."""
    set_environment(db.session, TEST)
    yield live
    set_environment(db.session, LIVE)
