"""Thousands of notifications: each arrives once, over one connection, in no more memory than some hundreds."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import event

from mushu.keyformat import public_id
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.resources.devices import DeviceRow
from mushu.server.resources.notifications import dispatch, outcomes
from mushu.server.resources.notifications.apns import Hosts
from mushu.server.resources.notifications.outcomes import Tally
from mushu.server.resources.tenants import TenantRow
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.delivery.memory import peak
from tests.server.resources.notifications.conftest import Post
from tests.server.resources.notifications.stand_in import StandIn

pytestmark = pytest.mark.unmeasured

#: More than are sent between two commits.
AT_ONCE = times(600, 1_000)
#: How much more memory four times as many devices may take; all at once would take four times as much.
_BOUND = 1.5


@pytest.fixture
def apple(_trusted: None, clock: TurnableClock) -> Iterator[StandIn]:
    stand_in = StandIn(clock, remembers=False)
    yield stand_in
    stand_in.close()
    assert stand_in.problems == []


@pytest.fixture
def live(post: Post, apple: StandIn) -> Post:
    if db.engine.dialect.name == "sqlite":  # spare thousands of rows the wait for the disk: nobody cuts the power here
        event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return replace(post, dispatcher=replace(post.dispatcher, hosts=Hosts(apple.url, "https://127.0.0.1:9")))


def people(post: Post, tenant: TenantRow, users: int, devices: int) -> list[str]:
    """Return the names of so many users, who have so many devices each."""
    names = [f"user {number}" for number in range(users)]
    now = post.clock()
    with writing(db.session):
        for number, name in enumerate(names):
            for which in range(devices):
                db.session.add(
                    DeviceRow(
                        id=public_id("device"), tenant_id=tenant.id, user_id=name, token=f"{number:032x}{which:032x}",
                        platform="ios", created_at=now, registered_at=now,
                    )
                )  # fmt: skip
    return names


def test_thousands_arrive_once_each_over_one_connection(live: Post, apple: StandIn) -> None:
    rounds = times(2, 10)
    tenant = live.tenant(apple.credentials())
    users = people(live, tenant, AT_ONCE, 1)
    for _ in range(rounds):
        sent = live.dispatcher.dispatch(live.request(tenant, users))
        with reading(db.session):
            assert outcomes.tally(db.session, sent) == Tally(AT_ONCE, AT_ONCE)
    assert (apple.count, apple.connections) == (rounds * AT_ONCE, 1)


def test_memory_does_not_grow_with_the_devices(live: Post, apple: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = times(50, 500)
    monkeypatch.setattr(dispatch, "_AT_ONCE", at_once)
    tenant = live.tenant(apple.credentials())
    few = people(live, tenant, at_once, 1)
    other = live.tenant(apple.credentials(key_id="KEY7654321"))
    many = people(live, other, at_once, 4)
    live.dispatcher.dispatch(live.request(tenant, few))  # what is loaded once is loaded
    some = peak(lambda: live.dispatcher.dispatch(live.request(tenant, few)))
    assert peak(lambda: live.dispatcher.dispatch(live.request(other, many))) < _BOUND * some
    assert apple.count == at_once * 6
