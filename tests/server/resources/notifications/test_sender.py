"""What Apple gets, and what each of its answers does to the row of the sending and to the device."""

from datetime import timedelta

import pytest

from mushu.notify.client import TIMEOUT
from mushu.server.clock import Clock
from mushu.server.resources.notifications.sender import Sender, Timing, apns_id
from tests.conftest import TurnableClock
from tests.server.resources.notifications.conftest import TOKEN, OneDevice, Post, Waiting
from tests.server.resources.notifications.stand_in import Behaviour, Cut, GoAway, Noise, Reply, Silence, StandIn

pytestmark = pytest.mark.unmeasured

OTHER = "b2" * 32


def milliseconds(clock: Clock, **later: float) -> int:
    return int((clock() + timedelta(**later)).timestamp() * 1_000)


class TestWhatAppleGets:
    def test_the_payload_the_topic_and_a_signature_it_can_verify(
        self, live: Post, apple: StandIn, clock: TurnableClock
    ) -> None:
        tenant = live.tenant(apple.credentials(), bundle_id="com.example.app")
        live.device(tenant)
        payload = {"aps": {"alert": {"title": "Grüße", "body": "📦"}, "badge": 0}, "order": {"id": 7}}
        (row,) = live.send(tenant, payload=payload)
        assert (row.outcome, row.status, row.reason, row.attempts) == ("sent", 200, None, 1)
        (received,) = apple.received
        assert received.payload == payload
        assert "Grüße" in received.body.decode()
        assert received.token == TOKEN
        assert received.headers["apns-topic"] == "com.example.app"
        assert (
            received.headers["apns-id"] == received.headers["apns-collapse-id"] == apns_id(row.notification_id, row.id)
        )
        assert received.headers["apns-expiration"] == str(int((clock() + timedelta(days=7)).timestamp()))
        assert (received.claims["iss"], received.claims["kid"]) == ("TEAM123456", "KEY1234567")
        assert 0 <= clock().timestamp() - received.claims["iat"] < 3_600

    def test_what_only_wakes_the_app_goes_at_low_priority(self, phone: OneDevice, apple: StandIn) -> None:
        phone.send({"aps": {"content-available": 1}, "sync": True})
        (received,) = apple.received  # push type and priority are checked by the stand-in
        assert received.headers["apns-push-type"] == "background"
        assert "apns-collapse-id" not in received.headers

    def test_each_device_of_a_user_once(self, live: Post, apple: StandIn) -> None:
        tenant = live.tenant(apple.credentials())
        for token in (TOKEN, OTHER):
            live.device(tenant, token)
        live.device(tenant, "c3" * 32, user_id="grace")
        rows = live.send(tenant)
        assert {row.token for row in rows} == {TOKEN, OTHER}
        assert sorted(one.token for one in apple.received) == [TOKEN, OTHER]
        assert len({one.headers["apns-id"] for one in apple.received}) == 2

    def test_one_connection_carries_everything_of_a_team(self, live: Post, apple: StandIn) -> None:
        first, second = live.tenant(apple.credentials()), live.tenant(apple.credentials(key_id="KEY7654321"))
        for tenant in (first, second):
            for number in range(20):
                live.device(tenant, f"{number:064x}", user_id=f"user {number}")
        for tenant in (first, second, first):
            assert {row.outcome for row in live.send(tenant, [f"user {number}" for number in range(20)])} == {"sent"}
        assert (apple.count, apple.connections) == (60, 1)

    def test_two_teams_have_a_connection_each(self, live: Post, apple: StandIn) -> None:
        for team in ("TEAMAAAAAA", "TEAMBBBBBB"):
            tenant = live.tenant(apple.credentials(team_id=team))
            live.device(tenant)
            assert live.send(tenant)[0].outcome == "sent"
        assert apple.connections == 2
        assert [one.claims["iss"] for one in apple.received] == ["TEAMAAAAAA", "TEAMBBBBBB"]


class TestRefusals:
    """An answer that is final: one attempt, and the device stays unless Apple calls it dead."""

    @pytest.mark.parametrize(
        ("reply", "stays"),
        [
            (Reply(400, "BadDeviceToken"), False),
            (Reply(400, "DeviceTokenNotForTopic"), True),
            (Reply(400, "TopicDisallowed"), True),
            (Reply(400, "BadTopic"), True),
            (Reply(403, "InvalidProviderToken"), True),
            (Reply(403, "BadEnvironmentKeyInToken"), True),
            (Reply(404, "BadPath"), True),
            (Reply(413, "PayloadTooLarge"), True),
            (Reply(410, "Unregistered"), False),
            (Reply(410, "ExpiredToken"), False),
            (Reply(302, headers={"location": "https://127.0.0.1:9/"}), True),
        ],
        ids=lambda value: f"{value.status} {value.reason}" if isinstance(value, Reply) else "",
    )
    def test_are_noted_and_not_repeated(self, phone: OneDevice, apple: StandIn, reply: Reply, stays: bool) -> None:
        apple.will(TOKEN, reply)
        row = phone.send()
        assert (row.outcome, row.status, row.reason, row.attempts) == ("failed", reply.status, reply.reason, 1)
        assert phone.has() == stays
        assert apple.count == 1

    def test_a_device_that_registered_after_it_died_is_kept(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock
    ) -> None:
        apple.will(TOKEN, Reply(410, "Unregistered", milliseconds(clock, minutes=-5)))
        assert phone.send().outcome == "failed"
        assert phone.has()

    def test_a_device_that_died_after_it_registered_is_removed(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock
    ) -> None:
        clock.turn(hours=1)
        apple.will(TOKEN, Reply(410, "Unregistered", milliseconds(clock, minutes=-5)))
        phone.send()
        assert not phone.has()

    def test_a_device_that_registers_while_it_is_refused_is_kept(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock
    ) -> None:
        clock.turn(hours=1)
        apple.on_arrival = lambda _: clock.turn(seconds=1)
        original = phone.post.dispatcher.sender.send

        def send(*arguments: object) -> object:
            results = original(*arguments)  # type: ignore[arg-type]
            phone.register()
            return results

        object.__setattr__(phone.post.dispatcher.sender, "send", send)
        apple.will(TOKEN, Reply(400, "BadDeviceToken"))
        assert phone.send().reason == "BadDeviceToken"
        assert phone.has()

    @pytest.mark.parametrize("timestamp", [10**30, -(10**30), True, "soon", 1.5, [], float("inf"), -1])
    def test_a_time_of_death_that_is_none_does_no_harm(
        self, phone: OneDevice, apple: StandIn, timestamp: object
    ) -> None:
        apple.will(TOKEN, Reply(410, "Unregistered", timestamp))
        assert phone.send().reason == "Unregistered"

    def test_the_same_token_of_another_tenant_is_kept(self, live: Post, apple: StandIn) -> None:
        tenant, other = live.tenant(apple.credentials()), live.tenant(None)
        live.device(tenant)
        live.device(other)
        apple.will(TOKEN, Reply(400, "BadDeviceToken"))
        live.send(tenant)
        assert live.has(tenant) is None
        assert live.has(other) is not None

    def test_of_one_device_are_no_other_devices_trouble(self, live: Post, apple: StandIn) -> None:
        tenant = live.tenant(apple.credentials())
        tokens = [f"{number:064x}" for number in range(12)]
        for token in tokens:
            live.device(tenant, token)
        endings: list[Behaviour] = [Reply(400, "BadDeviceToken"), Reply(403, "InvalidProviderToken"), Cut(), Noise()]
        for token, ending in zip(tokens, endings, strict=False):
            apple.will(token, *[ending] * (4 if isinstance(ending, Reply) else 1))
        rows = {row.token: row.outcome for row in live.send(tenant)}
        assert [rows[token] for token in tokens[:2]] == ["failed", "failed"]
        assert {rows[token] for token in tokens[2:]} == {"sent"}

    @pytest.mark.parametrize(
        "body",
        [b"<html>", b"[" * 4_000, b'{"reason": 7}', b'{"reason": "a\\nb"}', b"null", b"\xff\xfe", b"x" * 300_000],
    )
    def test_whose_body_is_garbage_are_refusals_without_a_reason(
        self, phone: OneDevice, apple: StandIn, body: bytes
    ) -> None:
        apple.will(TOKEN, Reply(400, body=body))
        row = phone.send()
        assert (row.outcome, row.status, row.reason) == ("failed", 400, None)
        assert phone.has()
        assert phone.send().outcome == "sent"


class TestAnotherAttempt:
    """What may pass: the same notification again, under the same id."""

    @pytest.mark.parametrize(
        ("behaviours", "slept"),
        [
            ([Reply(429, "TooManyRequests")], [0.5]),
            ([Reply(429, "TooManyRequests", headers={"retry-after": "7"})], [7.5]),
            ([Reply(429, "TooManyRequests", headers={"retry-after": "in a while"})], [0.5]),
            ([Reply(500, "InternalServerError")], [0.5]),
            ([Reply(503, "ServiceUnavailable")] * 3, [0.5, 1.0, 2.0]),
            ([Reply(503, "Shutdown", headers={"retry-after": "1"}), Reply(502)], [1.5, 1.0]),
            ([Cut()], [0.5]),
            ([Noise()], [0.5]),
            ([GoAway(looked_at=True)], [0.5]),
        ],
        ids=str,
    )
    def test_is_made_after_a_wait(
        self, phone: OneDevice, apple: StandIn, waiting: Waiting, behaviours: list[Behaviour], slept: list[float]
    ) -> None:
        apple.will(TOKEN, *behaviours)
        row = phone.send()
        assert (row.outcome, row.attempts) == ("sent", len(behaviours) + 1)
        assert waiting.slept == slept
        assert len({one.headers["apns-id"] for one in apple.received}) == 1

    @pytest.mark.parametrize(
        ("behaviour", "outcome", "status", "reason"),
        [
            (Reply(429, "TooManyRequests"), "failed", 429, "TooManyRequests"),
            (Reply(503, "ServiceUnavailable"), "failed", 503, "ServiceUnavailable"),
            (Reply(500, body=b"oops"), "failed", 500, None),
            (Cut(), "unknown", None, "connection_lost"),
            (Noise(), "unknown", None, "connection_lost"),
            (GoAway(looked_at=True), "unknown", None, "connection_lost"),
        ],
        ids=str,
    )
    def test_is_made_three_times_at_most(
        self,
        phone: OneDevice,
        apple: StandIn,
        behaviour: Behaviour,
        outcome: str,
        status: int | None,
        reason: str | None,
    ) -> None:
        apple.will(TOKEN, *[behaviour] * 10)
        row = phone.send()
        assert (row.outcome, row.status, row.reason, row.attempts) == (outcome, status, reason, 4)
        assert apple.count == 4
        assert phone.has()

    def test_is_not_made_where_apple_asks_for_more_patience_than_there_is(
        self, phone: OneDevice, apple: StandIn, waiting: Waiting
    ) -> None:
        apple.will(TOKEN, Reply(429, "TooManyRequests", headers={"retry-after": "9999999999"}))
        row = phone.send()
        assert (row.outcome, row.status, row.attempts) == ("failed", 429, 1)
        assert waiting.slept == []

    def test_is_not_made_when_time_is_up(self, phone: OneDevice, apple: StandIn, waiting: Waiting) -> None:
        apple.will(TOKEN, *[Reply(503, headers={"retry-after": "29"})] * 4)
        row = phone.send()
        assert (row.outcome, row.attempts) == ("failed", 3)
        assert waiting.seconds < 60

    def test_needs_none_of_ours_after_a_goodbye_that_never_looked_at_it(
        self, phone: OneDevice, apple: StandIn, waiting: Waiting
    ) -> None:
        phone.send()  # so that there is a stream before it
        apple.will(TOKEN, GoAway(looked_at=False))
        row = phone.send()
        assert (row.outcome, row.attempts) == ("sent", 1)
        assert (waiting.slept, apple.connections) == ([], 2)

    def test_is_made_after_a_silence_and_the_connection_is_given_up(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock, waiting: Waiting
    ) -> None:
        impatient = Sender(clock, Timing(waiting.sleep, waiting.now, lambda: 0.5, attempt_seconds=0.3))
        apple.will(TOKEN, Silence())
        try:
            row = phone.with_sender(impatient).send()
        finally:
            impatient.close()
        assert (row.outcome, row.attempts) == ("sent", 2)
        assert apple.connections == 2

    def test_is_not_needed_for_a_success_with_a_body_that_never_ends(self, phone: OneDevice, apple: StandIn) -> None:
        apple.will(TOKEN, Reply(200, body=b"x" * 300_000))
        row = phone.send()
        assert (row.outcome, row.attempts) == ("sent", 1)
        for _ in range(3):
            assert phone.send().attempts == 1


class TestNobodyThere:
    def test_a_host_that_refuses_connections_is_unreachable_and_nothing_was_sent(
        self, post: Post, apple: StandIn, waiting: Waiting
    ) -> None:
        tenant = post.tenant(apple.credentials())
        post.device(tenant)
        (row,) = post.send(tenant)
        assert (row.outcome, row.reason, row.status, row.attempts) == ("failed", "unreachable", None, 4)
        assert len(waiting.slept) == 3

    def test_a_host_whose_certificate_nobody_vouches_for_gets_nothing(
        self, phone: OneDevice, apple: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        row = phone.send()
        assert (row.outcome, row.reason) == ("failed", "unreachable")
        assert apple.count == 0

    def test_what_is_not_begun_when_time_is_up_is_not_tried(
        self, phone: OneDevice, apple: StandIn, waiting: Waiting
    ) -> None:
        apple.on_arrival = lambda _: setattr(waiting, "seconds", 100.0)
        phone.post.dispatcher.sender.deadline = lambda: -1.0  # type: ignore[method-assign]
        row = phone.send()
        assert (row.outcome, row.reason, row.attempts) == ("failed", "not_tried", 0)
        assert apple.count == 0


def test_an_answer_comes_before_our_own_clients_give_up() -> None:
    assert Timing().total_seconds + 2 < TIMEOUT.read  # type: ignore[operator]


class TestProviderTokens:
    def test_one_that_apple_finds_too_old_is_made_anew_once(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock, waiting: Waiting
    ) -> None:
        clock.turn(minutes=10)
        apple.will(TOKEN, Reply(403, "ExpiredProviderToken"))
        row = phone.send()
        assert (row.outcome, row.attempts) == ("sent", 2)
        first, second = (one.claims["iat"] for one in apple.received)
        assert second - first == 600
        assert waiting.slept == []

    def test_a_clock_that_is_wrong_does_not_make_one_after_another(
        self, phone: OneDevice, apple: StandIn, clock: TurnableClock
    ) -> None:
        clock.turn(minutes=10)
        for attempts in (2, 1):
            apple.will(TOKEN, *[Reply(403, "ExpiredProviderToken")] * attempts)
            row = phone.send()
            assert (row.outcome, row.reason, row.attempts) == ("failed", "ExpiredProviderToken", attempts)
            clock.turn(minutes=1)
        assert phone.has()

    def test_other_credentials_take_effect_at_once(self, live: Post, apple: StandIn) -> None:
        tenant = live.tenant(apple.credentials())
        live.device(tenant)
        live.send(tenant)
        again = apple.credentials()  # the same names, another key: the old signature is worth nothing from now on
        stale = live.send(tenant)[0]
        assert (stale.outcome, stale.reason) == ("failed", "InvalidProviderToken")
        other = live.tenant(again)
        live.device(other)
        assert live.send(other)[0].outcome == "sent"
