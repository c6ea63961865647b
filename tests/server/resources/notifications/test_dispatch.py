"""Written down, sent, written down: what is in the database whenever the process ends, and what is never sent twice."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from mushu.server import idempotency
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db
from mushu.server.db import own_session, reading, writing
from mushu.server.environments import set_environment, within
from mushu.server.errors import IdempotencyMismatch, InProgress, Invalid, NotificationNotFound, TenantNotFound
from mushu.server.idempotency import IdempotencyMark
from mushu.server.paging import Window
from mushu.server.resources import RESOURCES
from mushu.server.resources.notifications import dispatch, outcomes, service
from mushu.server.resources.notifications.apns import Outcome
from mushu.server.resources.notifications.models import NotificationRow
from mushu.server.resources.notifications.sender import PushMessage, PushResult, Recipient
from mushu.server.resources.tenants import TenantRow, delete_tenant
from tests.conftest import TurnableClock
from tests.server.resources.notifications.conftest import LIVE, TEST, TOKEN, Post
from tests.server.resources.notifications.stand_in import Reply, StandIn

pytestmark = pytest.mark.database

OTHER = "b2" * 32


class Killed(BaseException):
    """The process ends here."""


class Death:
    """A sender in whose hands the process dies, after so many pages."""

    def __init__(self, post: Post, pages: int = 0) -> None:
        self._real = post.dispatcher.sender
        self._pages = pages
        self.deadline = self._real.deadline

    def send(self, letter: PushMessage, addresses: Sequence[Recipient], deadline: float) -> list[PushResult]:
        if self._pages == 0:
            raise Killed
        self._pages -= 1
        return self._real.send(letter, addresses, deadline)


def with_death(post: Post, pages: int = 0) -> Post:
    return post.with_sender(Death(post, pages))  # type: ignore[arg-type]


@pytest.fixture
def tenant(live: Post, apple: StandIn) -> TenantRow:
    return live.tenant(apple.credentials())


def notifications(tenant_id: str) -> list[NotificationRow]:
    with reading(db.session):
        return list(service.list_notifications(db.session, tenant_id, None, Window()).rows)


class TestTheOutbox:
    def test_takes_what_a_tenant_without_credentials_sends(self, live: Post, apple: StandIn, sandbox: StandIn) -> None:
        tenant = live.tenant(None)
        live.device(tenant)
        (row,) = live.send(tenant)
        assert (row.outcome, row.attempts, row.status) == ("recorded", 0, None)
        (notification,) = notifications(tenant.id)
        assert notification.to_outbox
        assert notification.completed_at is not None
        assert notification.payload == {"aps": {"alert": {"title": "Hello"}}}
        assert (apple.connections, sandbox.connections) == (0, 0)

    def test_tells_of_a_user_without_a_device(self, live: Post) -> None:
        tenant = live.tenant(None)
        (row,) = live.send(tenant)
        assert (row.outcome, row.token) == ("no_device", None)

    def test_can_be_asked_for_alone(self, live: Post, tenant: TenantRow) -> None:
        live.send(tenant)
        with reading(db.session):
            for outbox, count in ((None, 1), (True, 0), (False, 1)):
                found = service.list_notifications(db.session, tenant.id, outbox, Window())
                assert len(found.rows) == count


class TestWhatIsWrittenDown:
    def test_is_there_before_anything_is_sent(self, live: Post, tenant: TenantRow, apple: StandIn) -> None:
        live.device(tenant)
        seen: list[str] = []
        engine, tenant_id = db.engine, tenant.id

        def look(_: str) -> None:
            with own_session(engine) as session, within(session, LIVE), reading(session):
                (notification,) = service.list_notifications(session, tenant_id, None, Window()).rows
                seen.extend(row.outcome for row in outcomes.list_sendings(session, notification, Window())[0])

        apple.on_arrival = look
        live.send(tenant)
        assert seen == ["pending"]

    def test_says_who_sent_it_and_makes_no_event_of_it(self, live: Post, tenant: TenantRow) -> None:
        with reading(db.session):
            before = db.session.query(AuditEvent).count()
        live.send(tenant)
        assert notifications(tenant.id)[0].created_by == "system mushu"
        with reading(db.session):
            assert db.session.query(AuditEvent).count() == before

    def test_is_of_the_environment(self, live: Post, tenant: TenantRow) -> None:
        sent = live.dispatcher.dispatch(live.request(tenant))
        assert sent.environment == LIVE
        with within(db.session, TEST), reading(db.session), pytest.raises(NotificationNotFound):
            service.get_notification(db.session, tenant.id, sent.id)

    def test_needs_nobody_to_be_sent_to(self, live: Post, tenant: TenantRow, apple: StandIn) -> None:
        rows = live.send(tenant, ["ada", "grace"])
        assert [(row.user_id, row.outcome) for row in rows] == [("ada", "no_device"), ("grace", "no_device")]
        assert notifications(tenant.id)[0].completed_at is not None
        assert apple.connections == 0

    def test_stays_when_the_tenant_is_deleted_and_nothing_more_is_sent(
        self, live: Post, tenant: TenantRow, apple: StandIn
    ) -> None:
        live.device(tenant)
        live.send(tenant)
        tenant_id = tenant.id  # a transaction that fails takes along what the session knew
        with writing(db.session):
            delete_tenant(db.session, live.clock, SYSTEM, tenant.id, RESOURCES.on_tenant_deleted)
        with pytest.raises(TenantNotFound):
            live.send(tenant)
        assert len(notifications(tenant_id)) == 1
        assert apple.count == 1

    @pytest.mark.fault
    def test_goes_to_nobody_else_once_the_tenant_is_deleted(
        self, live: Post, tenant: TenantRow, apple: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatch, "_AT_ONCE", 1)
        live.device(tenant)
        live.device(tenant, OTHER)
        engine, tenant_id = db.engine, tenant.id

        def delete(_: str) -> None:
            with own_session(engine) as session, within(session, LIVE), writing(session):
                delete_tenant(session, live.clock, SYSTEM, tenant_id, RESOURCES.on_tenant_deleted)

        apple.on_arrival = delete
        rows = live.send(tenant)
        assert sorted(row.outcome for row in rows) == ["pending", "sent"]
        (notification,) = notifications(tenant.id)
        with reading(db.session):
            assert outcomes.counts(db.session, notification, live.clock())[Outcome.UNKNOWN] == 1

    def test_is_counted_by_user(self, live: Post, tenant: TenantRow, apple: StandIn) -> None:
        for token, user in ((TOKEN, "ada"), (OTHER, "ada"), ("c3" * 32, "grace")):
            live.device(tenant, token, user)
        apple.will(TOKEN, Reply(400, "BadDeviceToken"))
        apple.will("c3" * 32, Reply(400, "TopicDisallowed"))
        sent = live.dispatcher.dispatch(live.request(tenant, ["ada", "grace", "linus"]))
        with reading(db.session):
            assert outcomes.tally(db.session, sent) == outcomes.Tally(3, 1)
            counted = outcomes.counts(db.session, sent, live.clock())
        assert {outcome.value: count for outcome, count in counted.items() if count} == {
            "sent": 1, "failed": 2, "no_device": 1,
        }  # fmt: skip

    def test_comes_in_pages(self, live: Post, tenant: TenantRow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dispatch, "_AT_ONCE", 2)
        users = [f"user {number}" for number in range(7)]
        for number, user in enumerate(users):
            live.device(tenant, f"{number:064x}", user)
        sent = live.dispatcher.dispatch(live.request(tenant, users))
        assert sent.completed_at is not None
        seen, cursor = list[str](), None
        while True:
            with reading(db.session):
                rows, cursor = outcomes.list_sendings(db.session, sent, Window(3, cursor))
            seen += [row.user_id for row in rows]
            assert {row.outcome for row in rows} == {"sent"}
            if cursor is None:
                break
        assert seen == users

    @pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 19, " 1", "1\n"])
    def test_takes_no_foreign_cursor(self, live: Post, tenant: TenantRow, cursor: str) -> None:
        sent = live.dispatcher.dispatch(live.request(tenant))
        with reading(db.session), pytest.raises(Invalid, match="next_cursor"):
            outcomes.list_sendings(db.session, sent, Window(3, cursor))


class TestAProcessThatDies:
    def test_leaves_rows_that_are_told_as_unknown_once_nobody_can_be_sending(
        self, live: Post, tenant: TenantRow, apple: StandIn, clock: TurnableClock
    ) -> None:
        live.device(tenant)
        with pytest.raises(Killed):
            with_death(live).send(tenant)
        (notification,) = notifications(tenant.id)
        (row,) = live.rows(notification)
        assert row.outcome == "pending"
        assert outcomes.outcome_of(row, notification, clock()) == "pending"
        clock.turn(minutes=5, seconds=1)
        assert outcomes.outcome_of(row, notification, clock()) == "unknown"
        with reading(db.session):
            assert outcomes.counts(db.session, notification, clock())[Outcome.UNKNOWN] == 1
            reason = outcomes.first_failure(db.session, notification, clock())
        assert reason == "It is not known whether this arrived: the server stopped while it was sending."
        assert apple.count == 0

    def test_keeps_what_it_knew(
        self, live: Post, tenant: TenantRow, apple: StandIn, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatch, "_AT_ONCE", 2)
        users = [f"user {number}" for number in range(5)]
        for number, user in enumerate(users):
            live.device(tenant, f"{number:064x}", user)
        with pytest.raises(Killed):
            with_death(live, pages=1).send(tenant, users)
        (notification,) = notifications(tenant.id)
        clock.turn(hours=1)
        told = [outcomes.outcome_of(row, notification, clock()).value for row in live.rows(notification)]
        assert told == ["sent", "sent", "unknown", "unknown", "unknown"]
        assert apple.count == 2

    def test_is_not_taken_up_by_who_asks_again(
        self, live: Post, tenant: TenantRow, apple: StandIn, clock: TurnableClock, mark: IdempotencyMark
    ) -> None:
        live.device(tenant)
        request = replace(live.request(tenant), idempotency=mark)
        with pytest.raises(Killed):
            with_death(live).dispatcher.dispatch(request)
        with pytest.raises(InProgress, match="being worked on"):
            live.dispatcher.dispatch(request)
        clock.turn(minutes=6)
        again = live.dispatcher.dispatch(request)
        assert [again.id] == [one.id for one in notifications(tenant.id)]
        assert apple.connections == 0


class TestAskingTwice:
    def test_sends_once(self, live: Post, tenant: TenantRow, apple: StandIn, mark: IdempotencyMark) -> None:
        live.device(tenant)
        request = replace(live.request(tenant), idempotency=mark)
        first, second = (live.dispatcher.dispatch(request) for _ in range(2))
        assert first.id == second.id
        assert apple.count == 1

    def test_for_something_else_is_refused(
        self, live: Post, tenant: TenantRow, apple: StandIn, mark: IdempotencyMark
    ) -> None:
        live.device(tenant)
        live.dispatcher.dispatch(replace(live.request(tenant), idempotency=mark))
        with pytest.raises(IdempotencyMismatch):
            live.dispatcher.dispatch(
                replace(live.request(tenant), idempotency=IdempotencyMark(mark.request_key, "e" * 64))
            )
        assert apple.count == 1

    def test_at_the_same_moment_sends_once(
        self, live: Post, tenant: TenantRow, apple: StandIn, mark: IdempotencyMark
    ) -> None:
        live.device(tenant)
        request = replace(live.request(tenant), idempotency=mark)
        refused = threading.Event()
        apple.on_arrival = lambda _: refused.wait(10)
        ends: list[Any] = []
        engine = db.engine

        def ask() -> None:
            with own_session(engine) as session:
                set_environment(session, LIVE)
                try:
                    ends.append(replace(live.dispatcher, session=session).dispatch(request).id)
                except InProgress as under_way:
                    ends.append(under_way)
                    refused.set()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [type(end) for end in sorted(ends, key=str)].count(InProgress) == 3
        assert apple.count == 1
        assert len(notifications(tenant.id)) == 1

    def test_is_decided_by_the_database_where_two_get_that_far(
        self, live: Post, tenant: TenantRow, apple: StandIn, mark: IdempotencyMark, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live.device(tenant)
        request = replace(live.request(tenant), idempotency=mark)
        first = live.dispatcher.dispatch(request)
        looks = iter([None])  # as one looks that comes before the other has committed
        real = idempotency.find_made
        monkeypatch.setattr(dispatch, "find_made", lambda *asked: next(looks, first) and real(*asked))
        assert live.dispatcher.dispatch(request).id == first.id
        assert apple.count == 1

    def test_hides_no_other_clash_of_the_database(
        self, live: Post, tenant: TenantRow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def clash(*_: object) -> None:
            raise IntegrityError("INSERT", None, Exception())

        monkeypatch.setattr(service, "record_notification", clash)
        with pytest.raises(IntegrityError):
            live.send(tenant)


class TestUsers:
    def test_are_named_once_each(self) -> None:
        assert service.checked_users(["ada", "grace", "ada"]) == ["ada", "grace"]

    @pytest.mark.parametrize("user", ["", " ", "a\nb", "a\x00", "\ud800", "a" * 201, "\u202e", " ada"])
    def test_that_no_device_can_have_are_refused(self, user: str) -> None:
        with pytest.raises(Invalid, match="user_id has 1 to 200"):
            service.checked_users(["ada", user])

    @pytest.mark.parametrize("count", [0, 1_001])
    def test_are_one_to_a_thousand(self, count: int) -> None:
        with pytest.raises(Invalid, match="1 to 1000 users"):
            service.checked_users([f"user {number}" for number in range(count)])
