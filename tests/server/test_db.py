"""How transactions begin, and what keeps one from being held by accident."""

import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mushu.server import postgresql_waits
from mushu.server.core import Core, db
from mushu.server.db import UTCDateTime, engine_options, reading, writing
from mushu.server.delivery.ledger import find_under_way, keys_at, keys_to_clean_up, keys_under_way
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import find_minted
from mushu.server.keys.selection import Selection
from mushu.server.keys.service import find_key_by_digest, list_keys
from mushu.server.paging import Window
from mushu.server.read_connections import ReadConnections
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_nothing_is_read_outside_of_a_transaction_that_someone_owns(app: Flask) -> None:
    with pytest.raises(InvalidRequestError):
        db.session.execute(text("SELECT 1"))


@pytest.mark.sqlite
def test_pragmas_hold_on_every_connection(app: Flask) -> None:
    with reading(db.session):
        found = {
            name: db.session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


@pytest.mark.sqlite
def test_a_writer_takes_the_lock_at_once_and_a_reader_never(app: Flask, core: Core) -> None:
    other = sqlite3.connect(core.settings.instance_path / "mushu.sqlite3", timeout=0, isolation_level=None)
    with reading(db.session):
        db.session.execute(text("SELECT count(*) FROM users"))
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    with writing(db.session):
        db.session.execute(text("SELECT count(*) FROM users"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()


def test_an_exception_rolls_the_transaction_back(app: Flask, world: World) -> None:
    with pytest.raises(RuntimeError), writing(db.session):
        db.session.execute(text("DELETE FROM audit_events"))
        raise RuntimeError
    world.user()
    with reading(db.session):
        assert db.session.scalar(text("SELECT count(*) FROM audit_events")) == 1


def test_an_organization_has_one_owner_whatever_the_code_does(world: World) -> None:
    org, other = world.org(), world.user()
    insert = text("INSERT INTO memberships (org_id, user_id, role, joined_at) VALUES (:o, :u, 'owner', :now)")
    with pytest.raises(IntegrityError), writing(db.session):
        db.session.execute(insert, {"o": org.id, "u": other.id, "now": datetime(2026, 1, 1, tzinfo=UTC)})


def test_moments_come_back_as_they_went_in_and_naive_ones_are_refused(world: World) -> None:
    kind, dialect = UTCDateTime(), db.engine.dialect
    read = kind.result_processor(dialect, None)
    elsewhere = datetime(2026, 1, 15, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    assert kind.process_bind_param(elsewhere, dialect) == datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    assert read(datetime(2026, 1, 15, 10, 30)) == elsewhere  # noqa: DTZ001
    assert read(elsewhere) == elsewhere
    assert kind.process_bind_param(None, dialect) is read(None) is None
    assert read("2026-01-15 10:30:00.000001") == datetime(2026, 1, 15, 10, 30, 0, 1, UTC)
    with pytest.raises(ValueError, match="naive"):
        kind.process_bind_param(datetime(2026, 1, 15), dialect)  # noqa: DTZ001


@pytest.mark.sqlite
def test_no_query_that_grows_with_the_number_of_keys_scans_a_table(world: World, app: Flask) -> None:
    """The design: every cost stays flat from one key to a million."""
    org = world.org()
    world.key(org)
    key, _ = world.key(org)
    statements: list[tuple[str, object]] = []
    connection = sqlite3.connect(":memory:")
    connection.close()
    from sqlalchemy import event

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_c: object, _u: object, statement: str, parameters: object, _x: object, _m: object) -> None:
        statements.append((statement, parameters))

    with reading(db.session):
        page = list_keys(db.session, org.id, Selection(), Window(1))
        list_keys(db.session, org.id, Selection(), Window(1, page.next_cursor))
        find_minted(db.session, IdempotencyMark("0" * 64, "1" * 64))
        find_key_by_digest(db.session, key.digest)
        find_under_way(db.session, "env:/x", "machine a")
        keys_at(db.session, ["env:/x"])
        keys_under_way(db.session)
        keys_to_clean_up(db.session)
        event.remove(db.engine, "before_cursor_execute", note)
        for statement, parameters in statements:
            if statement.startswith("SELECT"):
                plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
                steps = [row[3] for row in plan]
                scans = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]
                assert not scans, f"{statement}\n{steps}"
                assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps) or "IN (" in statement, steps


@pytest.mark.fault
def test_nobody_waits_for_a_connection_because_others_hold_theirs(core: Core, app: Flask) -> None:
    """A thread that only reads finds one, however many wait for the right to write."""
    with app.app_context(), ExitStack() as held:
        for _ in range(core.settings.threads + core.settings.transfers + 16):
            held.enter_context(closing(db.engine.raw_connection()))
        with reading(db.session):
            assert db.session.scalar(text("SELECT 1")) == 1


def test_a_read_of_its_own_sees_each_commit_and_outlives_a_connection_that_was_closed(world: World) -> None:
    def fetch(statement: str) -> object:
        return reads.fetch(statement, [])[0][0]

    reads = ReadConnections(db.engine)
    assert fetch("SELECT count(*) FROM users") == 0
    world.user()
    assert fetch("SELECT count(*) FROM users") == 1
    reads._idle[0].close()
    assert fetch("SELECT count(*) FROM users") == 1
    with pytest.raises(DBAPIError, match="nowhere"):
        fetch("SELECT * FROM nowhere")
    assert not reads._idle, "a connection that failed is not used again"
    if db.engine.dialect.name == "sqlite":
        assert fetch("PRAGMA busy_timeout") == 15_000
    (connection,) = [*reads._idle] or [reads._take()]
    db.engine.dispose()
    connection.close()
    assert not reads._idle


@pytest.mark.fault
class Opened:
    """A connection whose reads end when they may."""

    def __init__(self, may_end: threading.Event) -> None:
        self._may_end = may_end
        self.is_closed = False

    def execute(self, *_: object) -> "Opened":
        assert self._may_end.wait(30)
        return self

    def fetchall(self) -> list[int]:
        return [1]

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.fault
def test_reads_side_by_side_share_a_few_connections_and_open_others_only_where_these_take_long(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With eight, three were opened and closed again for each wave of requests; one took 50 ms that took 15."""
    opened: list[Opened] = []
    may_end = threading.Event()
    may_end.set()
    reads = ReadConnections(db.engine)

    def open_one() -> Opened:
        opened.append(one := Opened(may_end))
        return one

    monkeypatch.setattr(reads, "_open", open_one)

    def read(times: int) -> None:
        assert [reads.fetch("", ()) for _ in range(times)] == [[1]] * times

    def begin(times: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=read, args=(times,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        return threads

    for thread in begin(200):
        thread.join(30)
    assert 0 < len(opened) <= 5
    may_end.clear()
    monkeypatch.setattr("mushu.server.read_connections._PATIENCE", 0.001)
    threads = begin(1)
    until = time.monotonic() + 30
    while len(opened) < 12:
        assert time.monotonic() < until
        time.sleep(0.001)
    may_end.set()
    for thread in threads:
        thread.join(30)
    assert sum(not connection.is_closed for connection in opened) == 5


def test_a_pool_without_a_free_connection_is_no_fault_of_the_server(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise PoolTimeout

    monkeypatch.setattr("mushu.server.users.login.count_attempt", exhausted)
    response = client.post("/auth/login", json={"email": "a@example.com", "password": "not a password"})
    assert (response.status_code, response.get_json()["code"]) == (503, "busy")


def test_a_lock_of_another_is_not_waited_for_without_an_end(app: Flask) -> None:
    asked = "SHOW lock_timeout" if db_is_postgresql(app) else "PRAGMA busy_timeout"
    with app.app_context(), db.engine.connect() as connection:
        assert connection.exec_driver_sql(asked).scalar() in ("15s", 15_000)


@pytest.mark.postgresql
@pytest.mark.fault
def test_a_database_that_does_not_answer_is_given_up_by_a_server_and_waited_for_by_a_command(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen PostgreSQL kept each request waiting for as long as it was frozen."""
    sleep, soon = "SELECT pg_sleep(600), 1", "SELECT pg_sleep(0.5), 1"
    with app.app_context():
        reads = ReadConnections(db.engine)
        assert reads.fetch(soon, {})[0][1] == 1
        monkeypatch.setattr(postgresql_waits.Waits, "seconds", 0.2)
        idle = [*reads._idle]
        with pytest.raises(DBAPIError):
            reads.fetch(sleep, {})
        assert idle[0].closed
        with pytest.raises(DBAPIError), reading(db.session):
            db.session.execute(text(sleep))
        assert reads.fetch("SELECT 1", {})[0][0] == 1
        with reading(db.session):
            assert db.session.scalar(text("SELECT 1")) == 1


def test_an_unknown_psycopg_waits_as_it_did(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.delattr("psycopg.errors._WaitTimeout")
    postgresql_waits._connection_class.cache_clear()
    assert postgresql_waits._connection_class() is psycopg.Connection
    postgresql_waits._connection_class.cache_clear()
    assert "is not known" in caplog.text


def test_only_a_wait_of_its_own_closes_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    closed, waited = list[str](), list[float | None]()

    def wait(_self: object, _gen: object, _interval: float, timeout: float | None) -> None:
        waited.append(timeout)
        raise psycopg.errors._WaitTimeout

    monkeypatch.setattr(psycopg.Connection, "wait", wait)
    connection_class = postgresql_waits._connection_class()
    monkeypatch.setattr(connection_class, "close", lambda _: closed.append("closed"))
    connection = connection_class.__new__(connection_class)
    monkeypatch.setattr(connection_class, "__del__", lambda _: None, raising=False)
    for bound, timeout, expected in ((None, 3.0, []), (None, None, ["closed"]), (7.0, None, ["closed"] * 2)):
        monkeypatch.setattr(postgresql_waits.Waits, "seconds", bound)
        with pytest.raises(psycopg.errors._WaitTimeout) as raised:
            connection.wait(None, timeout=timeout)
        assert (closed, hasattr(raised.value, postgresql_waits.NO_ANSWER)) == (expected, timeout is None)
    assert waited == [3.0, None, 7.0]


def test_what_the_address_of_the_database_says_is_kept() -> None:
    options = engine_options("postgresql+psycopg://a@b/c?connect_timeout=3", 30)
    assert "connect_timeout" not in options["connect_args"]
    assert options["connect_args"]["tcp_user_timeout"] == 30_000
    assert (options["pool_size"], options["pool_size"] + options["max_overflow"]) == (10, 35)
    assert "connect_args" not in engine_options("sqlite:////tmp/x", 30)


def db_is_postgresql(app: Flask) -> bool:
    with app.app_context():
        return db.engine.dialect.name == "postgresql"
