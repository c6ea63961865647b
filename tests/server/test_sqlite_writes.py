"""Who writes next: threads wait for their turn, processes ask often, and nobody waits without an end."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from mushu.server import db as database
from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.db import own_session, writing
from mushu.server.sqlite_writes import ROUND, WriteTurns, begin_to_write, turn_to_write
from mushu.testing.processes import fork, wait_for

LONG = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(connect(tmp_path / "d.sqlite3")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
    return tmp_path / "d.sqlite3"


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, ROUND / 1_000, isolation_level=None, check_same_thread=False)


@pytest.fixture
def other(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes."""
    with closing(connect(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_it_begins_once_the_other_has_ended_and_gives_up_in_time(file: Path, other: sqlite3.Connection) -> None:
    with closing(connect(file)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            begin_to_write(connection.execute, 0.02)
        assert not connection.in_transaction
        ends = threading.Timer(0.05, other.execute, ["COMMIT"])
        ends.start()
        begin_to_write(connection.execute, LONG)
        assert connection.in_transaction
        ends.join()


def test_what_is_no_matter_of_waiting_is_raised_at_once() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        with pytest.raises(sqlite3.DatabaseError):
            begin_to_write(connection.execute, LONG)


def test_one_thread_follows_another_and_none_waits_without_an_end() -> None:
    turns, order, has_turn, may_end = WriteTurns(), list[str](), threading.Event(), threading.Event()

    def write() -> None:
        with turn_to_write(turns, LONG):
            order.append("first")
            has_turn.set()
            assert may_end.wait(LONG)
            order.append("first ends")

    thread = threading.Thread(target=write)
    thread.start()
    assert has_turn.wait(LONG)
    with turn_to_write(turns, 0.01):
        order.append("who waited too long")
    with turn_to_write(None, LONG):
        order.append("who need not wait")
    may_end.set()
    with turn_to_write(turns, LONG):
        order.append("second")
    thread.join(LONG)
    assert order == ["first", "who waited too long", "who need not wait", "first ends", "second"]
    with suppress(ValueError), turn_to_write(turns, LONG):
        raise ValueError
    assert turns.current.acquire(blocking=False), "an exception ends a turn, too"


def test_a_child_does_not_wait_for_a_thread_that_its_parent_has() -> None:
    turns = WriteTurns()

    def write() -> int:
        return 0 if turns.current.acquire(blocking=False) else 1

    with turn_to_write(turns, LONG):
        assert wait_for(fork(write)) == 0


@pytest.mark.sqlite
def test_a_writer_of_another_process_is_waited_for_and_not_without_an_end(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context(), closing(connect(settings.instance_path / "mushu.sqlite3")) as other:
        session = own_session(db.engine)
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patched:
            patched.setattr(database, "BUSY_TIMEOUT", 20)
            with pytest.raises(OperationalError, match="locked"), writing(session):
                session.connection()
        ends = threading.Timer(0.05, other.execute, ["COMMIT"])
        ends.start()
        with writing(session):
            assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar() == database.BUSY_TIMEOUT
        ends.join()
        session.close()


@pytest.mark.fault
@pytest.mark.sqlite
def test_threads_that_write_all_the_time_never_have_sqlite_decide(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had them pause for up to 100 ms: with four clients, one creation in a hundred took 600 ms."""
    refused: list[str] = []

    def begin(execute: Callable[[str], object], seconds: float) -> None:
        execute("PRAGMA busy_timeout=0")
        try:
            execute("BEGIN IMMEDIATE")
        except OperationalError as error:
            refused.append(str(error))
            begin_to_write(execute, seconds)

    def write() -> None:
        with app.app_context():
            session = own_session(db.engine)
            for _ in range(20):
                with writing(session):
                    session.connection()
            session.close()

    monkeypatch.setattr(database, "begin_to_write", begin)
    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert refused == []


def test_a_process_that_is_passed_over_by_others_is_not_given_up(file: Path) -> None:
    """Four that wrote without a pause left two waiting for a second, and these gave up."""

    def write() -> int:
        with closing(connect(file)) as connection:
            for _ in range(300):
                begin_to_write(connection.execute, LONG)
                connection.execute("INSERT INTO t VALUES (1)")
                connection.execute("COMMIT")
        return 0

    writers = [fork(write) for _ in range(3)]
    assert [wait_for(writer) for writer in writers] == [0, 0, 0]
    with closing(connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (900,)
