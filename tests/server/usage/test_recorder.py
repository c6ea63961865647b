"""Counting: nothing is lost or counted twice, whatever the database does, and nobody waits for it."""

import itertools
import logging
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import own_session, prepare_engine, reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.instance import USAGE_FOLDER
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import get_key
from mushu.server.orgs.service import create_org
from mushu.server.usage import KeyUse, Recorder, uses_of
from mushu.server.usage.engine import usage_engine
from mushu.server.usage.models import DAY, HOUR, UsageFile, UsagePeriod, UsageSource
from mushu.server.usage.store import UsageStore, keep_house_of_usage
from mushu.server.users.service import create_user
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database


class Counting:
    """A database with keys in it, and recorders that write to it."""

    def __init__(self, engine: Engine, folder: Path, clock: TurnableClock) -> None:
        self.engine = engine
        self.folder = folder
        self.clock = clock
        with self.session() as session, writing(session):
            owner = create_user(session, clock, SYSTEM, "alice@example.com")
            self.org_id = create_org(session, clock, SYSTEM, "acme", owner.id).id

    def session(self) -> Session:
        return own_session(self.engine)

    def recorder(self, interval: float = 0) -> Recorder:
        return Recorder(self.engine, self.folder, interval)

    def fork(self, act: Callable[[Recorder], None]) -> tuple[int, BinaryIO]:
        """Return a child that does this with a recorder of its own and ends, and what it writes to standard output."""
        self.engine.dispose()  # SQLite's locks do not go along
        here, there = os.pipe()
        child = os.fork()
        if child:
            os.close(there)
            return child, os.fdopen(here, "rb")
        try:
            os.dup2(there, 1)
            os.close(there)
            engine = create_engine(self.engine.url)
            prepare_engine(engine)
            act(Recorder(engine, self.folder, 0))
        except BaseException as error:
            os.write(1, repr(error).encode())
        finally:
            os._exit(0)

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

    def periods(self, key: ApiKey) -> list[tuple[int, int]]:
        with own_session(usage_engine(self.engine)) as session, reading(session):
            of_key = select(UsagePeriod).where(UsagePeriod.key_id == key.id).order_by(UsagePeriod.start)
            return [(period.seconds, period.requests) for period in session.scalars(of_key)]

    def sources(self, key: ApiKey) -> list[str]:
        with own_session(usage_engine(self.engine)) as session, reading(session):
            of_key = select(UsageSource).where(UsageSource.key_id == key.id)
            return [found.source for found in session.scalars(of_key)]

    def retires_at(self, key: ApiKey) -> datetime | None:
        with self.session() as session, reading(session):
            return get_key(session, key.id).retires_at


@pytest.fixture
def counting(settings: Settings, clock: TurnableClock) -> Iterator[Counting]:
    engine = create_engine(settings.sqlalchemy_url)
    prepare_engine(engine)
    settings.instance_path.mkdir(exist_ok=True)  # on PostgreSQL, nothing else is in it
    yield Counting(engine, settings.instance_path / USAGE_FOLDER, clock)
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

    @event.listens_for(usage_engine(counting.engine), "before_cursor_execute")
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

    @event.listens_for(usage_engine(counting.engine), "commit")
    def note(_: object) -> None:
        written.set()

    recorder.saw(key.id, counting.clock(), "here")
    assert written.wait(30)
    recorder.flush()
    (following,) = counting.folder.iterdir()
    recorder.saw(key.id, counting.clock(), "here")
    assert [*counting.folder.iterdir()] == [following], "no request makes a file"
    recorder.close()
    assert [*counting.folder.iterdir()] == []
    assert counting.known(key) is not None
    for thread in [found for found in threading.enumerate() if found.name == "usage"]:
        thread.join(30)
        assert not thread.is_alive()


def test_a_thousand_keys_and_more_are_written_in_one_transaction(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UsageStore, "note_first_uses", lambda _: None)
    with counting.session() as session, writing(session):
        request = KeyRequest(org_id=counting.org_id, name="k")
        keys = [issue_key(session, counting.clock, SYSTEM, request)[0] for _ in range(1_100)]
    recorder, commits = counting.recorder(), []
    event.listen(usage_engine(counting.engine), "commit", lambda _: commits.append(1))
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


def test_keys_without_end_take_no_memory_without_end(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mushu.server.usage.counters.SLOTS", 1)
    monkeypatch.setattr("mushu.server.usage.recorder._MOST_FILES", 1)
    first, second, third, recorder = counting.key(), counting.key(), counting.key(), counting.recorder()
    for key in (first, first, second, third):
        recorder.saw(key.id, counting.clock(), "x" * 100)
    with caplog.at_level(logging.WARNING):
        recorder.flush()
    known = counting.known(first)
    assert known is not None
    assert (known.requests, len(known.last_used_from)) == (2, 64)
    assert (counting.known(second) is None, counting.known(third)) == (False, None)
    assert "requests were not counted" in caplog.text


def test_what_killed_processes_counted_is_added_up(counting: Counting) -> None:
    """At least what was answered, and at most what was sent; each is killed at another moment, some while they add."""
    key = counting.key()
    sent = answered = 0
    recorder = counting.recorder()
    for number in range(times(8, 132)):
        child, told = counting.fork(partial(_count_for_ever, key.id, 40 if number % 2 else 0))
        heard = told.read(20 + 61 * number)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        heard += told.read()
        told.close()
        sent, answered = sent + heard.count(b"s"), answered + heard.count(b"a")
        recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert answered <= known.requests <= sent
    assert answered > 100
    assert [*counting.folder.iterdir()] == []


def test_four_processes_that_are_started_again_lose_nothing(counting: Counting) -> None:
    key, each = counting.key(), times(250, 8_000)

    def count(recorder: Recorder) -> None:
        for _ in range(each):
            recorder.saw(key.id, counting.clock(), "192.0.2.1")

    recorder = counting.recorder()
    for _ in range(3):
        children = [counting.fork(count) for _ in range(4)]
        count(recorder)
        recorder.flush()
        counting.clock.turn(minutes=1)
        for child, told in children:
            assert told.read() == b"", "nothing went wrong"
            told.close()
            os.waitpid(child, 0)
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 3 * 5 * each
    assert known.last_used_at == counting.clock() - timedelta(minutes=1)


def _count_for_ever(key_id: str, add_after: int, recorder: Recorder) -> None:
    for number in itertools.count(1):
        os.write(1, b"s")
        recorder.saw(key_id, datetime.now(UTC), "192.0.2.1")
        os.write(1, b"a")
        if add_after and number % add_after == 0:
            recorder.flush()


def test_a_file_that_was_added_and_not_removed_is_not_added_again(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, recorder = counting.key(), counting.recorder()
    with monkeypatch.context() as patch:
        patch.setattr("mushu.server.usage.counters._remove", _fail)
        recorder.saw(key.id, counting.clock(), "here")
        recorder.flush()
    assert [*counting.folder.iterdir()] != []
    for _ in range(2):
        recorder.flush()
        assert [*counting.folder.iterdir()] == []
        recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 3
    with own_session(usage_engine(counting.engine)) as session, reading(session):
        assert len(session.scalars(select(UsageFile)).all()) == 1, "what is gone is forgotten"


def _fail(path: Path) -> None:
    raise OSError(f"power cut at {path}")


def test_a_first_use_that_was_added_reaches_the_rotation_after_a_crash(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = counting.key()
    new, recorder, used = counting.rotated(old), counting.recorder(), counting.clock()
    with monkeypatch.context() as patch:
        patch.setattr(UsageStore, "note_first_uses", lambda _: None)
        recorder.saw(new.id, used, "here")
        recorder.flush()
    assert counting.retires_at(old) is None
    counting.clock.turn(minutes=10)
    counting.recorder().flush()
    assert counting.retires_at(old) == used + timedelta(hours=1)


@pytest.mark.sqlite
def test_counting_commits_nothing_to_the_database_of_the_keys(counting: Counting) -> None:
    key, recorder = counting.key(), counting.recorder()
    recorder.flush()
    with counting.engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        recorder.saw(key.id, counting.clock(), "here")
        recorder.denied(key.id, counting.clock(), "here", "missing_scope")
        recorder.flush()
        assert connection.exec_driver_sql("PRAGMA data_version").scalar_one() == version
    (of_usage,) = counting.folder.parent.glob("*-usage.sqlite3")
    assert stat.S_IMODE(of_usage.stat().st_mode) == 0o600


@pytest.mark.sqlite
def test_the_uses_that_earlier_versions_wrote_beside_the_keys_are_kept(counting: Counting) -> None:
    key, recorder, first = counting.key(), counting.recorder(), counting.clock()
    with counting.session() as session, writing(session):
        session.add(KeyUse(key_id=key.id, first_used_at=first, last_used_at=first, last_used_from="old", requests=5))
    known = counting.known(key)
    assert known is not None
    assert known.requests == 5
    counting.clock.turn(minutes=1)
    recorder.saw(key.id, counting.clock(), "new")
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert (known.first_used_at, known.last_used_from, known.requests) == (first, "new", 6)


def test_where_no_file_can_be_made_it_counts_in_memory_alone(counting: Counting) -> None:
    key, recorder = counting.key(), counting.recorder()
    counting.folder.write_text("no folder")
    recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 1


def test_a_file_that_a_power_cut_has_spoiled_holds_nothing_up(counting: Counting) -> None:
    key, recorder = counting.key(), counting.recorder()
    counting.folder.mkdir()
    for number, content in enumerate((b"", b"short", b"\xff" * 1_280, b"\0" * 1_280)):
        (counting.folder / f"{number}.counts-1").write_bytes(content)
    recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 1
    assert [*counting.folder.iterdir()] == []


def test_hours_become_days_and_days_are_forgotten(counting: Counting) -> None:
    key, recorder, start = counting.key(), counting.recorder(), counting.clock()
    for hours in (0, 1, 1, 14, 24):
        counting.clock.now = start + timedelta(hours=hours)
        recorder.saw(key.id, counting.clock(), "192.0.2.1")
        recorder.denied(key.id, counting.clock(), "192.0.2.1", "missing_scope")
    recorder.flush()
    assert counting.periods(key) == [(HOUR, 1), (HOUR, 2), (HOUR, 1), (HOUR, 1)]
    recorder.saw(key.id, counting.clock(), "192.0.2.1")
    recorder.flush()
    for days, left in (
        (0, [(HOUR, 1), (HOUR, 2), (HOUR, 1), (HOUR, 2)]),
        (31, [(HOUR, 1), (HOUR, 2), (DAY, 3)]),
        (33, [(DAY, 3), (DAY, 3)]),
        (400, [(DAY, 3)]),
        (401, []),
    ):
        for _ in range(2):
            keep_house_of_usage(counting.engine, counting.folder.parent, start.replace(hour=11) + timedelta(days=days))
        assert sorted(counting.periods(key)) == sorted(left), days
    known = counting.known(key)
    assert known is not None
    assert known.requests == 6


@pytest.mark.fault
def test_of_many_addresses_within_a_second_the_last_ones_are_known(counting: Counting) -> None:
    """The first eight were kept, so the address of the last request was not among the last five."""
    recorder, key = counting.recorder(), counting.key()
    for moment, number in enumerate((*range(30), 5)):
        recorder.saw(key.id, counting.clock() + timedelta(microseconds=moment), f"192.0.2.{number}")
    recorder.flush()
    addresses = {source for source in counting.sources(key) if "/" not in source}
    assert addresses == {f"192.0.2.{number}" for number in (5, 29, 28, 27, 26)}


def test_the_last_addresses_and_networks_of_a_key_are_known(counting: Counting) -> None:
    key, other, recorder = counting.key(), counting.key(), counting.recorder()
    recorder.saw(other.id, counting.clock(), "unknown")
    for number in range(30):
        counting.clock.turn(seconds=1)
        recorder.saw(key.id, counting.clock(), f"192.0.{number}.1")
        recorder.saw(key.id, counting.clock(), f"2001:db8:{number:x}::1")
        recorder.flush()
    known = counting.sources(key)
    addresses = [source for source in known if "/" not in source]
    assert sorted(addresses) == sorted(["192.0.29.1", "2001:db8:1d::1", "192.0.28.1", "2001:db8:1c::1", "192.0.27.1"])
    assert len(known) - len(addresses) == 20
    assert {"192.0.29.0/24", "2001:db8:1d::/48"} <= set(known)
    assert counting.sources(other) == ["unknown"]


@pytest.mark.sqlite
def test_where_the_sums_were_taken_away_counting_begins_anew_and_where_they_are_spoiled_it_is_told(
    counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    key, recorder = counting.key(), counting.recorder()
    file = counting.folder.parent / "mushu-usage.sqlite3"
    for _ in range(2):
        recorder.saw(key.id, counting.clock(), "here")
        recorder.flush()
        known = counting.known(key)
        assert known is not None
        assert known.requests == 1
        file.unlink()
    recorder.saw(key.id, counting.clock(), "here")
    recorder.flush()
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    file.write_bytes(b"no database" * 1_000)
    recorder.saw(key.id, counting.clock(), "here")
    with caplog.at_level(logging.WARNING):
        recorder.flush()
    assert "usage could not be written" in caplog.text
    file.unlink()
    recorder.flush()
    known = counting.known(key)
    assert known is not None
    assert known.requests == 1
