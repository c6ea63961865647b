"""What was kept long enough goes, with what became of it, a little at a time; and nothing else does."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select, text

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db, get_core
from mushu.server.db import own_session, reading, writing
from mushu.server.environments import within
from mushu.server.idempotency import IdempotencyMark
from mushu.server.resources import RESOURCES
from mushu.server.resources.notifications.cleaning import clean_notifications, delete_older
from mushu.server.resources.notifications.models import NotificationRow, SendingRow
from mushu.server.resources.notifications.service import record_notification
from mushu.server.resources.tenants import TenantRow, delete_tenant, get_tenant
from tests.server.resources.notifications.conftest import LIVE, TEST, Post
from tests.server.resources.notifications.stand_in import StandIn
from tests.server.statements import statements

pytestmark = pytest.mark.database

KEEP = timedelta(days=90)


@pytest.fixture(autouse=True)
def _empty(post: Post) -> None:
    with writing(db.session):
        for table in ("sendings", "notifications"):
            db.session.connection().execute(text(f"DELETE FROM {table}"))


def clean(post: Post, keep: timedelta = KEEP) -> int:
    """Clean up as housekeeping does, in a session that was told of no environment."""
    with own_session(db.engine) as session:
        return delete_older(session, post.clock, keep)


def rows(environment: Environment = LIVE) -> tuple[int, int]:
    """Return how many notifications there are, and how many outcomes."""
    with own_session(db.engine) as session, within(session, environment), reading(session):
        counted = [
            session.scalar(select(func.count()).select_from(table)) or 0 for table in (NotificationRow, SendingRow)
        ]
        return counted[0], counted[1]


def written(seen: list[str]) -> list[str]:
    return [statement for statement in seen if statement.startswith(("DELETE", "UPDATE", "INSERT", "BEGIN IMM"))]


def under_way(post: Post, tenant: TenantRow) -> NotificationRow:
    """Write down a notification that is being sent, or was when its process died."""
    with writing(db.session):
        asked = post.request(tenant)
        return record_notification(db.session, post.clock, get_tenant(db.session, tenant.id), asked)


def test_a_notification_goes_with_its_outcomes_when_its_time_is_over_and_not_a_moment_before(post: Post) -> None:
    tenant = post.tenant(None)
    post.device(tenant)
    post.send(tenant, ["ada", "grace"])
    post.clock.turn(days=90, seconds=-1)
    later = post.dispatcher.dispatch(post.request(tenant, ["linus"]))
    assert clean(post) == 0
    assert rows() == (2, 3)
    post.clock.turn(seconds=1)
    assert clean(post) == 1
    assert rows() == (1, 1)
    assert [row.user_id for row in post.rows(later)] == ["linus"]


def test_live_and_test_are_cleaned_alike(post: Post) -> None:
    post.send(post.tenant(None))
    with within(db.session, TEST):
        post.send(post.tenant(None))
    post.clock.turn(days=91)
    assert (rows(LIVE), rows(TEST)) == ((1, 1), (1, 1))
    assert clean(post) == 2
    assert (rows(LIVE), rows(TEST)) == ((0, 0), (0, 0))


def test_for_ever_means_for_ever(post: Post) -> None:
    post.send(post.tenant(None))
    post.clock.turn(days=40_000)
    clean_notifications(db.session, post.clock, replace(get_core().settings, keep_notifications_days=0))
    assert rows() == (1, 1)


def test_those_of_a_deleted_tenant_go_too(post: Post) -> None:
    tenant = post.tenant(None)
    post.send(tenant)
    with writing(db.session):
        delete_tenant(db.session, post.clock, SYSTEM, tenant.id, RESOURCES.on_tenant_deleted)
    post.clock.turn(days=90)
    assert clean(post) == 1


def test_what_may_still_be_being_sent_stays_however_short_the_time(live: Post, apple: StandIn) -> None:
    tenant = live.tenant(apple.credentials())
    live.device(tenant)
    notification = under_way(live, tenant)
    assert notification.completed_at is None
    live.clock.turn(minutes=5)
    assert clean(live, timedelta(seconds=1)) == 0
    assert rows() == (1, 1)
    live.clock.turn(seconds=1)
    assert clean(live, timedelta(seconds=1)) == 1, "its process died: nobody settles it any more"
    assert rows() == (0, 0)


def test_what_was_sent_goes_as_what_lies_in_the_outbox_does(live: Post, apple: StandIn) -> None:
    tenant = live.tenant(apple.credentials())
    live.device(tenant)
    assert [row.outcome for row in live.send(tenant)] == ["sent"]
    live.clock.turn(days=90)
    assert clean(live) == 1
    assert rows() == (0, 0)


def test_of_many_outcomes_only_some_go_with_each_transaction(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.paging.DELETED_AT_ONCE", 10)
    tenant = post.tenant(None)
    for size in (25, 1, 1):
        post.send(tenant, [f"user {number}" for number in range(size)])
    post.clock.turn(days=90)
    lost: list[int] = []

    def count(_connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            lost.append(cursor.rowcount)

    event.listen(db.engine, "after_cursor_execute", count)
    with statements(db.engine) as seen:
        assert clean(post) == 3
    event.remove(db.engine, "after_cursor_execute", count)
    assert rows() == (0, 0)
    assert max(lost) == 10
    assert sum(lost) == 30
    assert sum(statement.startswith("DELETE") for statement in seen) == 2 * 3, "outcomes and notifications, three times"
    if db.engine.dialect.name == "sqlite":
        assert seen.count("BEGIN IMMEDIATE") == 3


def test_a_round_ends_and_the_next_one_goes_on(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.paging.DELETED_AT_ONCE", 2)
    monkeypatch.setattr("mushu.server.paging.DELETIONS_OF_A_ROUND", 3)
    tenant = post.tenant(None)
    for _ in range(4):
        post.send(tenant, ["ada", "grace"])
    post.clock.turn(days=90)
    assert clean(post) == 3
    assert rows() == (1, 2)
    assert clean(post) == 1
    assert rows() == (0, 0)


def test_a_round_reaches_every_tenant(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.paging.DELETIONS_OF_A_ROUND", 1)
    for _ in range(5):
        post.send(post.tenant(None))
    post.clock.turn(days=90)
    assert clean(post) == 5


def test_where_nothing_is_due_nothing_is_written(post: Post) -> None:
    tenant = post.tenant(None)
    post.send(tenant)
    post.clock.turn(days=89)
    with statements(db.engine) as seen:
        assert clean(post) == 0
    assert seen
    assert written(seen) == []
    post.clock.turn(days=1)
    with statements(db.engine) as seen:
        assert clean(post) == 1
    assert written(seen)


@pytest.mark.sqlite
def test_looking_for_what_is_due_reads_the_oldest_of_each_tenant_and_not_every_notification(post: Post) -> None:
    with statements(db.engine) as seen:
        clean(post)
    asked = next(statement for statement in seen if "min(" in statement)
    with reading(db.session):
        nothing = ("",) * asked.count("?")
        plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", nothing).all()
    steps = [str(step[-1]) for step in plan]
    (looked,) = [step for step in steps if "notifications" in step]
    assert looked.startswith("SEARCH notifications USING INDEX ix_notifications_tenant_id_created_at_id (tenant_id=?")


def test_a_request_that_is_repeated_is_known_for_as_long_and_is_a_new_one_then(
    post: Post, mark: IdempotencyMark
) -> None:
    asked = replace(post.request(post.tenant(None)), idempotency=mark)
    first = post.dispatcher.dispatch(asked).id
    post.clock.turn(days=89)
    clean(post)
    assert post.dispatcher.dispatch(asked).id == first
    post.clock.turn(days=1)
    clean(post)
    assert post.dispatcher.dispatch(asked).id != first
