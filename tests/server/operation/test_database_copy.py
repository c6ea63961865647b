"""`flask db copy` brings every row over, once, whatever kills it; and refuses what would lose or mix anything.

From SQLite to SQLite, and where the tests have a PostgreSQL, to that and back.
"""

import os
import random
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, create_engine, insert, make_url, select, text

from mushu.server.audit import AuditEvent
from mushu.server.errors import ConfigurationError, CopyFailed
from mushu.server.operation import copied_rows, database_copy
from mushu.server.operation.copied_rows import TABLES_IN_ORDER, CopiedDatabase
from mushu.server.operation.database_copy import copy_database
from mushu.server.operation.upgrading.migrations import (
    UNFINISHED_COPY,
    apply_migrations,
    migration_transaction,
    missing_in,
    revisions_of,
)
from mushu.server.usage.models import TABLES
from mushu.server.users.models import User
from mushu.testing.processes import kill_at, steps_of
from tests.long import LONG, SEED, times
from tests.server.conftest import POSTGRESQL
from tests.server.operation.filling import fill

pytestmark = pytest.mark.database
ROWS = 12
#: A table that is not in the file of usage.
OTHER: Any = User.__table__


@dataclass
class Ends:
    """A database with rows in each table, and where it is to go."""

    source: str
    target: str
    folder: Path
    told: list[str] = field(default_factory=list)

    def copy(self) -> dict[str, int]:
        self.told.clear()
        return {table.name: table.rows for table in copy_database(self.source, self.target, self.told.append)}

    def refusal(self) -> str:
        with pytest.raises(CopyFailed) as refused:
            self.copy()
        return str(refused.value)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of SQLite's, which has rows in each table."""
    folder = tmp_path_factory.mktemp("filled")
    with opened(f"sqlite:///{folder}/source.sqlite3", is_new=True) as database:
        with migration_transaction(database.engine) as connection:
            apply_migrations(connection)
        for usage in (False, True):
            tables = [table for table in TABLES_IN_ORDER if (table in TABLES) == usage]
            with database.engine_of(tables[0]).begin() as connection:
                fill(connection, tables, ROWS)
    return folder


@pytest.fixture
def ends(tmp_path: Path, filled: Path) -> Iterator[Ends]:
    for file in filled.iterdir():
        shutil.copy(file, tmp_path)
    with target_of(tmp_path) as target:
        yield Ends(f"sqlite:///{tmp_path}/source.sqlite3", target, tmp_path)


@contextmanager
def target_of(folder: Path) -> Iterator[str]:
    """Provide a database that is not there yet or empty; in PostgreSQL, it sorts as people do."""
    if not POSTGRESQL:
        yield f"sqlite:///{folder}/target.sqlite3"
        return
    name = f"mushu_copy_{os.getpid()}_{secrets.token_hex(4)}"
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        collation = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        connection.execute(text(f"CREATE DATABASE {name} {collation}"))
    yield make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def opened(url: str, *, is_new: bool = False) -> CopiedDatabase:
    return CopiedDatabase("--to", url, is_new=is_new)


def content(url: str) -> dict[str, list[str]]:
    """Return all rows, however they are sorted."""
    with opened(url) as database:
        found = {}
        for table in TABLES_IN_ORDER:
            with database.engine_of(table).connect() as connection:
                found[table.name] = sorted(repr(tuple(row)) for row in connection.execute(select(table)))
    return found


@contextmanager
def changing(url: str, table: Table = OTHER) -> Iterator[Connection]:
    with opened(url) as database, database.engine_of(table).begin() as connection:
        yield connection


def test_every_row_of_every_table_goes_over_and_back(ends: Ends) -> None:
    before = content(ends.source)
    assert all(len(rows) == ROWS for rows in before.values())
    assert ends.copy() == dict.fromkeys(before, ROWS)
    assert content(ends.target) == content(ends.source) == before
    with changing(ends.target) as connection:
        assert missing_in(connection) == []
        events = AuditEvent.__table__
        row = connection.execute(select(events)).first()
        assert row is not None
        values = {name: value for name, value in row._mapping.items() if name != "id"}
        new = connection.execute(insert(AuditEvent).values(values))
        assert new.inserted_primary_key == (ROWS + 1,), "numbers go on where they were"
    back = Ends(ends.target, f"sqlite:///{ends.folder}/back.sqlite3", ends.folder)
    assert back.copy()["audit_events"] == ROWS + 1
    assert content(back.target) == content(ends.target)


def test_a_whole_copy_is_compared_again_and_another_one_is_left_alone(ends: Ends) -> None:
    ends.copy()
    assert ends.copy()["users"] == ROWS
    assert ends.told == ["The target was a whole copy already."]
    with changing(ends.source) as connection:
        connection.execute(text("UPDATE users SET name = 'Ada' WHERE id = (SELECT min(id) FROM users)"))
    before = content(ends.target)
    assert "holds other rows" in ends.refusal()
    assert content(ends.target) == before


def test_killed_at_any_moment_it_goes_on_and_no_server_starts_meanwhile(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_copy, "BATCH", 5)
    monkeypatch.setattr(copied_rows, "BATCH", 5)
    scratch = Ends(ends.source, f"sqlite:///{ends.folder}/scratch.sqlite3", ends.folder)
    steps = steps_of(scratch.copy, ("mushu",), each=LONG)
    # Most kinds of steps are at the beginning and at the end; rows are copied in between, for most of the time.
    midway = (steps[-1] // 3, steps[-1] // 2)
    chosen = {*random.Random(SEED).sample(steps, min(len(steps), times(4, 148))), *midway}
    unfinished = 0
    for step in sorted(chosen):
        kill_at(step, ends.copy, ("mushu",))
        with opened(ends.target, is_new=True) as database, database.engine.connect() as connection:
            if UNFINISHED_COPY in revisions_of(connection):
                unfinished += 1
                with pytest.raises(ConfigurationError, match="flask db copy"):
                    missing_in(connection)
    assert unfinished > 1
    ends.copy()
    assert ends.told == ["A copy was begun before; it goes on."]
    assert content(ends.target) == content(ends.source)


@pytest.mark.parametrize("change", ["UPDATE users SET name = 'Ada'", "DELETE FROM audit_events", "usage"])
def test_what_a_killed_run_left_is_replaced_where_the_source_has_changed(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(database_copy, "_finish", kill)
        with pytest.raises(KeyboardInterrupt):
            ends.copy()
    if change == "usage":
        with changing(ends.source, TABLES[0]) as connection:
            connection.execute(text("DELETE FROM key_uses WHERE requests = 1"))
    else:
        with changing(ends.source) as connection:
            connection.execute(text(change))
    ends.copy()
    assert "begins anew" in ends.told[-1]
    assert content(ends.target) == content(ends.source)


def kill(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_changes_on_the_way_is_found_before_a_server_starts(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    real = database_copy._continue

    def disturbed(*given: Any) -> None:
        real(*given)
        with changing(ends.target) as connection:
            connection.execute(text("DELETE FROM login_failures WHERE untold = 1"))

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(database_copy, "_continue", disturbed)
        assert "something else writes" in ends.refusal()
    with changing(ends.target) as connection, pytest.raises(ConfigurationError):
        missing_in(connection)
    ends.copy()
    assert content(ends.target) == content(ends.source)


def test_a_row_that_the_target_does_not_take_is_named(ends: Ends) -> None:
    with opened(ends.source) as database, closing(sqlite3.connect(database.file or "")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        (third,) = connection.execute("SELECT successor_id FROM rotations ORDER BY 1 LIMIT 1 OFFSET 2").fetchone()
        connection.execute("UPDATE rotations SET at_deadline = 'never' WHERE successor_id = ?", (third,))
        connection.commit()
    assert f"The row {third} of rotations cannot be stored there" in ends.refusal()
    with changing(ends.source) as connection:
        connection.execute(text("UPDATE rotations SET at_deadline = 'keep'"))
    ends.copy()
    assert content(ends.target) == content(ends.source)


def test_a_target_that_is_no_place_for_a_copy_is_refused_and_left_alone(ends: Ends) -> None:
    ends.copy()
    for change, says in (
        ("UPDATE alembic_version SET version_num = '0013'", "lacks 0014"),
        ("DELETE FROM alembic_version", "lacks 0001"),
        ("CREATE TABLE of_another (id INTEGER)", "tables of another program: of_another"),
    ):
        with changing(ends.target) as connection:
            connection.execute(text(change))
        assert says in ends.refusal()
    with changing(ends.source) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0012'"))
    assert "--from is of an older version: it lacks 0013, 0014" in ends.refusal()
    with changing(ends.source) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer Mushu"):
        ends.copy()


def test_what_cannot_be_opened_is_said_with_what_to_do(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = ends.source, ends.folder
    (folder / "text").write_text("This is no database, and long enough to be seen as none by SQLite. " * 20)
    for given, target, says in (
        (source, source, "the same database"),
        (f"sqlite:///{folder}/none", ends.target, "There is no database at"),
        (source, f"sqlite:///{folder}/none/target", "Make it"),
        (source, "mysql://root@localhost/mushu", "--to must begin with"),
        ("", ends.target, "--from must name a database"),
        (source, f"sqlite:///{folder}/text", "A database failed: file is not a database"),
    ):
        assert says in Ends(given, target, folder).refusal()
    if POSTGRESQL:
        secret = "postgresql://someone:hunter2@127.0.0.1:1/mushu"
        refused = Ends(source, secret, folder).refusal()
        assert "A database failed" in refused
        assert "hunter2" not in refused


def test_a_database_that_is_in_use_is_refused(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied_rows, "PATIENCE", 0)
    monkeypatch.setattr(copied_rows, "process_using", lambda file: 7 if file.name == "source.sqlite3" else None)
    assert f"Process 7 has {ends.folder}/source.sqlite3 open. Stop the server" in ends.refusal()
    monkeypatch.setattr(copied_rows, "process_using", lambda _: None)
    if POSTGRESQL:
        other = create_engine(ends.target)
        with other.connect():
            assert "1 other connections" in ends.refusal()
        other.dispose()
    with opened(ends.source) as database, database.engine.begin():
        monkeypatch.setattr("mushu.server.db.BUSY_TIMEOUT", 1)
        assert "A database failed: database is locked" in ends.refusal()
