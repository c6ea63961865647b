"""Counting: nothing is lost or counted twice, whatever the database does, and nobody waits for it."""

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import own_session, prepare_engine, reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import get_key
from mushu.server.orgs.service import create_org
from mushu.server.usage import KeyUse, Recorder, uses_of
from mushu.server.users.service import create_user
from tests.conftest import TurnableClock
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database


class Counting:
    """A database with keys in it, and recorders that write to it."""

    def __init__(self, engine: Engine, clock: TurnableClock) -> None:
        self.engine = engine
        self.clock = clock
        with self.session() as session, writing(session):
            owner = create_user(session, clock, SYSTEM, "alice@example.com")
            self.org_id = create_org(session, clock, SYSTEM, "acme", owner.id).id

    def session(self) -> Session:
        return own_session(self.engine)

    def recorder(self, interval: float = 0) -> Recorder:
        return Recorder(self.session, interval)

    def key(self) -> ApiKey:
        with self.session() as session, writing(session):
            return issue_key(session, self.clock, SYSTEM, KeyRequest(org_id=self.org_id, name="k"))[0]

    def rotated(self, key: ApiKey) -> ApiKey:
        with self.session() as session, writing(session):
            successor, _ = begin(session, self.clock, SYSTEM, key.id, Terms(settle=timedelta(hours=1)))
            return activate(session, self.clock, SYSTEM, successor.id)

    def known(self, key: ApiKey) -> KeyUse | None:
        with self.session() as session, reading(session):
            return uses_of(session, [key.id]).get(key.id)

    def retires_at(self, key: ApiKey) -> datetime | None:
        with self.session() as session, reading(session):
            return get_key(session, key.id).retires_at


@pytest.fixture
def counting(settings: Settings, clock: TurnableClock) -> Iterator[Counting]:
    engine = create_engine(settings.sqlalchemy_url)
    prepare_engine(engine)
    yield Counting(engine, clock)
    engine.dispose()


def test_it_works(counting: Counting) -> None:
    key, recorder, first = counting.key(), counting.recorder(), counting.clock()
    recorder.saw(key.id, first, "192.0.2.1")
    counting.clock.turn(minutes=5)
    recorder.saw(key.id, counting.clock(), "192.0.2.2")
    assert counting.known(key) is None
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert (known.first_used_at, known.last_used_at) == (first, counting.clock())
    assert (known.last_used_from, known.requests) == ("192.0.2.2", 2)


def test_several_processes_add_up(counting: Counting) -> None:
    key, early, late = counting.key(), counting.recorder(), counting.recorder()
    first = counting.clock()
    early.saw(key.id, first, "early")
    counting.clock.turn(minutes=1)
    for _ in range(3):
        late.saw(key.id, counting.clock(), "late")
    late.flush()
    early.flush()
    known = counting.known(key)
    assert known is not None
    assert (known.first_used_at, known.last_used_at) == (first, counting.clock())
    assert (known.last_used_from, known.requests) == ("late", 4)


def test_what_was_written_is_not_written_again(counting: Counting) -> None:
    key, recorder = counting.key(), counting.recorder()
    recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    recorder.flush()
    recorder.close()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 1


def test_what_the_database_did_not_take_is_kept_for_the_next_time(
    counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    key, recorder, broken = counting.key(), counting.recorder(), [True]
    first = counting.clock()

    @event.listens_for(counting.engine, "before_cursor_execute")
    def fail(_c: object, _u: object, statement: str, *_: Any) -> None:
        if broken and "key_uses" in statement:
            raise OperationalError(statement, {}, Exception("disk full"))

    recorder.saw(key.id, first, "before")
    with caplog.at_level(logging.WARNING):
        recorder.flush()
    assert "usage could not be written" in caplog.text
    counting.clock.turn(minutes=1)
    recorder.saw(key.id, counting.clock(), "after")
    recorder.flush()
    broken.clear()
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert (known.first_used_at, known.last_used_at, known.requests) == (first, counting.clock(), 2)
    assert known.last_used_from == "after"


def test_the_first_use_of_a_successor_starts_the_clock_of_the_key_before(counting: Counting) -> None:
    old = counting.key()
    new, recorder = counting.rotated(old), counting.recorder()
    recorder.saw(old.id, counting.clock(), "here")
    recorder.flush()
    assert counting.retires_at(old) is None
    used = counting.clock()
    recorder.saw(new.id, used, "here")
    counting.clock.turn(minutes=10)
    recorder.flush()
    assert counting.retires_at(old) == used + timedelta(hours=1)


def test_a_thread_of_its_own_writes_at_intervals_and_ends_when_it_is_closed(counting: Counting) -> None:
    key, recorder, written = counting.key(), counting.recorder(interval=0.01), threading.Event()

    @event.listens_for(counting.engine, "commit")
    def note(_: object) -> None:
        written.set()

    recorder.saw(key.id, counting.clock(), "here")
    assert written.wait(30)
    recorder.close()
    assert counting.known(key) is not None
    for thread in [found for found in threading.enumerate() if found.name == "usage"]:
        thread.join(30)
        assert not thread.is_alive()


def test_a_thousand_keys_and_more_are_written_in_one_transaction(counting: Counting) -> None:
    with counting.session() as session, writing(session):
        request = KeyRequest(org_id=counting.org_id, name="k")
        keys = [issue_key(session, counting.clock, SYSTEM, request)[0] for _ in range(1_100)]
    recorder, commits = counting.recorder(), []
    event.listen(counting.engine, "commit", lambda _: commits.append(1))
    for key in keys:
        recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    assert len(commits) == 1
    assert all(counting.known(key) for key in (keys[0], keys[-1]))


def test_threads_lose_no_count(counting: Counting) -> None:
    key, recorder = counting.key(), counting.recorder()

    def count() -> None:
        for _ in range(500):
            recorder.saw(key.id, counting.clock(), "here")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        recorder.flush()
    for thread in threads:
        thread.join()
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 4_000


def test_keys_without_end_take_no_memory_without_end(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.usage._MOST_KEYS", 1)
    first, second, recorder = counting.key(), counting.key(), counting.recorder()
    for key in (first, second, first):
        recorder.saw(key.id, counting.clock(), "x" * 100)
    recorder.flush()
    known = counting.known(first)
    assert known is not None
    assert (known.requests, len(known.last_used_from)) == (2, 64)
    assert counting.known(second) is None
