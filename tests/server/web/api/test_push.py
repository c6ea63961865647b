"""Sending notifications over HTTP, and looking at what became of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.db import writing
from mushu.server.environments import within
from mushu.server.keys import Scope
from mushu.server.resources.apple_credentials import ApnsCredentials
from mushu.server.resources.devices import Registration, register_device
from mushu.server.resources.tenants import TenantRequest, create_tenant
from mushu.server.web import extensions
from mushu.server.web.extensions import sender_of
from tests.cli.certificates import certificates
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, quiet_app
from tests.server.resources.notifications.stand_in import Reply, StandIn
from tests.server.web.asking import SeparateClient, all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.unmeasured

LIVE, TEST = Environment.LIVE, Environment.TEST
HELLO: dict[str, Any] = {"user_id": "ada", "alert": {"title": "Hello", "body": "The parcel is here."}}
ALL: dict[str, Any] = {"user_ids": ["ada", "grace"], "alert": {"body": "The shop is open."}}
TOKEN = "a1" * 32


class Caller:
    """Calls about one tenant with a key of its organization."""

    def __init__(self, client: SeparateClient, world: World, stage: Stage) -> None:
        self._client = client
        self._headers = api_key(world.key(stage.organization, *Scope, environment=stage.environment)[1])
        self.stage = stage
        prefix = "/sandbox" if stage.environment is TEST else ""
        self.path = f"{prefix}/tenants/{stage.tenant}"

    def send(self, body: Any, *, bulk: bool = False, key: str | None = None) -> Any:
        headers = self._headers | ({"Idempotency-Key": key} if key is not None else {})
        return self._client.post(f"{self.path}/notify{'/bulk' if bulk else ''}", json=body, headers=headers)

    def send_text(self, text: str, key: str | None) -> Any:
        headers = self._headers | ({"Idempotency-Key": key} if key is not None else {})
        return self._client.post(f"{self.path}/notify", data=text, content_type="application/json", headers=headers)

    def get(self, path: str = "", **query: Any) -> Any:
        return self._client.get(f"{self.path}/notifications{path}", query_string=query, headers=self._headers)


def caller_in(house: House, environment: Environment) -> Caller:
    """Return one with a tenant that writes to its outbox, and one device of the user ada."""
    stage = Stage(house.world, environment)
    _ = stage.device
    return Caller(house.client, house.world, stage)


@pytest.fixture
def caller(house: House) -> Caller:
    return caller_in(house, LIVE)


@pytest.fixture(params=Environment)
def either(house: House, request: pytest.FixtureRequest) -> Caller:
    return caller_in(house, request.param)


class TestSending:
    def test_answers_that_it_is_done_or_why_not(self, either: Caller) -> None:
        as_published = HELLO | {"badge": None, "sound": None, "data": None, "content_available": False}
        for body in (HELLO, as_published):
            document = answer(either.send(body))
            assert list(document) == ["success", "message_id", "error"]
            assert (document["success"], document["error"]) == (True, None)
            assert document["message_id"].startswith("msg_")
        document = answer(either.send(HELLO | {"user_id": "nobody"}))
        assert (document["success"], document["error"]) == (False, "This user has no device: register one first.")

    def test_waits_for_no_place_when_all_are_taken_and_writes_nothing_down(self, caller: Caller, house: House) -> None:
        places, before = house.world.core.places, all_rows()["notifications"]
        taken = [places.acquire(blocking=False) for _ in range(house.world.core.settings.transfers)]
        try:
            assert all(taken)
            for body, bulk in ((HELLO, False), (ALL, True)):
                refused = caller.send(body, bulk=bulk, key="once")
                refusal(refused, 503, "busy")
                assert refused.headers["Retry-After"] == "1"
            assert all_rows()["notifications"] == before
        finally:
            for _ in taken:
                places.release()
        assert answer(caller.send(HELLO, key="once"))["success"] is True

    @pytest.mark.parametrize(
        "change",
        [
            {"alert": None},
            {"alert": {}},
            {"alert": {"title": ""}},
            {"alert": {"title": "x", "colour": "red"}},
            {"alert": "Hello"},
            {"title": "Hello"},
            {"user_id": ""},
            {"user_id": "a\nb"},
            {"user_id": " ada"},
            {"user_id": "a" * 201},
            {"user_id": 7},
            {"user_id": None},
            {"badge": -1},
            {"badge": 2**31},
            {"badge": 1.5},
            {"badge": True},
            {"badge": "1"},
            {"sound": "x" * 256},
            {"sound": {"name": "x"}},
            {"data": {"aps": {}}},
            {"data": []},
            {"data": {"v": "x" * 4_096}},
            {"content_available": 1},
        ],
        ids=str,
    )
    def test_is_refused_where_apple_or_we_would_not_take_it(self, caller: Caller, change: dict[str, Any]) -> None:
        refusal(caller.send(HELLO | change), 422, "invalid_input")

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ('{"user_id": "ada", "data": {"\\udfff": 1}}', 400),
            ('{"user_id": "a\\u0000", "badge": 1}', 422),
            ('{"user_id": "ada", "data": {"a": ' + "[" * 300 + "]" * 300 + "}}", 400),
            ('{"user_id": "ada", "data": {"a": ' + "9" * 4_200 + "}}", 400),
            ('{"user_id": "ada", "data": {"a": ' + "[" * 25 + "]" * 25 + "}}", 422),
            ('{"user_id": "ada", "data": {"a": "\\u0000", "b": ' + "9" * 400 + "}}", 400),
            ('{"user_id": "ada", "data": {"a": "\\u0000", "b": ' + "9" * 18 + "}}", 200),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_of_hostile_json_is_refused_or_sent_and_never_breaks_anything(
        self, caller: Caller, text: str, status: int
    ) -> None:
        for key in (None, "hostile"):
            response = caller.send_text(text, key)
            assert response.status_code == status, response.get_data(as_text=True)


class TestSendingToMany:
    def test_says_of_each_user_once_in_the_order_of_asking_what_became_of_it(self, either: Caller) -> None:
        document = answer(either.send(ALL | {"user_ids": ["grace", "ada", "grace"]}, bulk=True))
        assert list(document) == ["total", "success", "failed", "message_id", "results"]
        assert (document["total"], document["success"], document["failed"]) == (2, 1, 1)
        message_id = document["message_id"]
        assert document["results"] == [
            {"success": False, "message_id": message_id, "error": "This user has no device: register one first."},
            {"success": True, "message_id": message_id, "error": None},
        ]

    @pytest.mark.parametrize(
        "user_ids",
        [[], ["x"] * 1_001, [""], ["a\n"], ["a" * 201], "ada", None, [None], [["ada"]]],
        ids=lambda v: str(v)[:20],
    )
    def test_names_one_to_a_thousand_users(self, caller: Caller, user_ids: Any) -> None:
        refusal(caller.send(ALL | {"user_ids": user_ids}, bulk=True), 422, "invalid_input")


class TestLooking:
    def test_shows_the_newest_first_page_by_page(self, caller: Caller, house: House) -> None:
        sent = []
        for _ in range(3):
            house.clock.turn(seconds=1)
            sent.append(answer(caller.send(HELLO))["message_id"])
        first = answer(caller.get(limit=2))
        second = answer(caller.get(limit=2, cursor=first["next_cursor"]))
        seen = [one["message_id"] for page in (first, second) for one in page["notifications"]]
        assert seen == sent[::-1]
        assert second["next_cursor"] is None

    def test_makes_the_outbox_visible(self, either: Caller) -> None:
        message_id = answer(either.send(HELLO | {"data": {"order": 7}}))["message_id"]
        (one,) = answer(either.get(outbox="true"))["notifications"]
        assert one["message_id"] == message_id
        assert one["payload"] == {"aps": {"alert": HELLO["alert"]}, "order": 7}
        assert one["outbox"] is True
        assert one["environment"] == either.stage.environment
        assert one["created_by"].startswith("api_key key_")
        assert answer(either.get(outbox="false"))["notifications"] == []

    def test_shows_what_became_of_it_and_no_whole_token(self, caller: Caller) -> None:
        message_id = answer(caller.send(ALL, bulk=True))["message_id"]
        document = answer(caller.get(f"/{message_id}"))
        assert document["outcomes"] == {
            "pending": 0, "sent": 0, "recorded": 1, "failed": 0, "no_device": 1, "unknown": 0,
        }  # fmt: skip
        reached, missed = document["sendings"]
        assert (reached["user_id"], reached["outcome"], reached["error"]) == ("ada", "recorded", None)
        assert reached["token"] == f"{caller.stage.device[:8]}…"
        assert (missed["user_id"], missed["outcome"], missed["token"]) == ("grace", "no_device", None)
        assert missed["apns_id"] is None
        assert caller.stage.device not in str(document)

    def test_comes_in_pages_where_there_were_many(self, caller: Caller) -> None:
        users = [f"user {number}" for number in range(5)]
        message_id = answer(caller.send(ALL | {"user_ids": users}, bulk=True))["message_id"]
        first = answer(caller.get(f"/{message_id}", limit=3))
        second = answer(caller.get(f"/{message_id}", limit=3, cursor=first["next_cursor"]))
        assert [one["user_id"] for page in (first, second) for one in page["sendings"]] == users
        assert second["next_cursor"] is None

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"cursor": "x" * 201}], ids=str)
    def test_refuses_windows_that_are_none(self, caller: Caller, query: dict[str, Any]) -> None:
        message_id = answer(caller.send(HELLO))["message_id"]
        for path in ("", f"/{message_id}"):
            refusal(caller.get(path, **query), 422, "invalid_input")

    def test_of_another_tenant_is_in_vain(self, house: House, caller: Caller) -> None:
        message_id = answer(caller.send(HELLO))["message_id"]
        other = Stage(house.world, caller.stage.environment)
        refusal(Caller(house.client, house.world, other).get(f"/{message_id}"), 404, "notification_not_found")


class TestAskingTwice:
    @pytest.mark.parametrize(("body", "bulk"), [(HELLO, False), (ALL, True)], ids=["one", "many"])
    def test_answers_the_same_and_sends_once(self, either: Caller, body: dict[str, Any], bulk: bool) -> None:
        first, second = (answer(either.send(body, bulk=bulk, key="7d0c")) for _ in range(2))
        assert first == second
        assert answer(either.send(body, bulk=bulk))["message_id"] != first["message_id"], "without a key it is another"
        assert len(answer(either.get())["notifications"]) == 2


class Sent:
    """An application of its own, whose hosts are stand-ins."""

    def __init__(self, app: Flask, world: World, apple: StandIn, sandbox: StandIn) -> None:
        self.app, self.world, self.apple, self.sandbox = app, world, apple, sandbox

    def caller(self, environment: Environment, credentials: ApnsCredentials) -> Caller:
        stage = Stage(self.world, environment)
        request = TenantRequest(org_id=stage.org, bundle_id="com.example.shop", credentials=credentials)
        with within(db.session, environment), writing(db.session):
            tenant = create_tenant(db.session, self.world.clock, SYSTEM, self.world.core.sealing_keys, request)
            registration = Registration(tenant_id=tenant.id, user_id="ada", token=TOKEN)
            register_device(db.session, self.world.clock, registration)
        stage.tenant = tenant.id
        return Caller(SeparateClient(self.app), self.world, stage)


@pytest.fixture
def sent(settings: Settings, clock: TurnableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates() / "own.pem"))
    apple, sandbox = StandIn(clock), StandIn(clock)
    core = Core(replace(settings, apns_url=apple.url, apns_sandbox_url=f"{sandbox.url}/"), clock)
    app = quiet_app(core)
    with app.app_context():
        yield Sent(app, World(clock, core), apple, sandbox)
        sender_of(app).close()
        db.session.remove()
        db.engine.dispose()
    for stand_in in (apple, sandbox):
        stand_in.close()
        assert stand_in.problems == []


class TestThroughApple:
    def test_a_live_notification_goes_to_production_and_a_test_one_to_the_sandbox(self, sent: Sent) -> None:
        assert sent.apple.connections == sent.sandbox.connections == 0
        assert sender_of(sent.app)._loop._loop is None, "a worker that never sends opens nothing"
        assert answer(sent.caller(LIVE, sent.apple.credentials()).send(HELLO))["success"]
        (received,) = sent.apple.received
        assert received.payload == {"aps": {"alert": HELLO["alert"]}}
        assert sent.sandbox.connections == 0
        assert answer(sent.caller(TEST, sent.sandbox.credentials()).send(HELLO))["success"]
        assert (sent.apple.count, sent.sandbox.count) == (1, 1)
        assert extensions.hosts_of(sent.world.core.settings).sandbox == sent.sandbox.url

    def test_what_apple_refuses_is_told(self, sent: Sent) -> None:
        caller = sent.caller(LIVE, sent.apple.credentials())
        sent.apple.will(TOKEN, Reply(400, "DeviceTokenNotForTopic"))
        document = answer(caller.send(HELLO))
        assert document["success"] is False
        assert document["error"] == (
            "The device's token belongs to another app: compare the tenant's bundle_id (400 DeviceTokenNotForTopic)."
        )
        (one,) = answer(caller.get(f"/{document['message_id']}"))["sendings"]
        assert (one["outcome"], one["status"], one["reason"]) == ("failed", 400, "DeviceTokenNotForTopic")
        assert (one["error"], one["attempts"]) == (document["error"], 1)
        assert one["apns_id"] == sent.apple.received[0].headers["apns-id"]
