"""An upgrade that is killed at any moment: the next one finds the database as it was or as it should be, and goes on.

Short by itself; MUSHU_TEST_LONG=1 kills at many more moments.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mushu.server.config import Settings
from mushu.server.core import core_context, db
from mushu.server.operation.upgrading.copies import PARTIAL
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy
from tests.server.conftest import World
from tests.server.operation.upgrading.conftest import HEAD
from tests.server.operation.upgrading.test_migrations import add_migration

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]

_KILLS = 150 if os.environ.get("MUSHU_TEST_LONG") else 8
_ROWS = 5_000
_REWRITTEN = ("login_throttles", "users")


@pytest.fixture
def prepared(tmp_path: Path, filled: World, core: object) -> Path:
    """The instance folder of a database that takes a while to migrate."""
    instance = tmp_path / "instance"
    with db.engine.begin() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
            "INSERT INTO login_throttles SELECT 'account:' || hex(randomblob(32)) || i, i, '2026', '2026' FROM n"
        )
    db.session.remove()
    db.engine.dispose()
    return instance


@pytest.fixture
def two_more(migrations: Path) -> None:
    """Migrations that rewrite tables which hold much, and which others refer to."""
    body = (
        "with op.batch_alter_table('{}', recreate='always') as batch:\n    batch.add_column(sa.Column('x', sa.Text()))"
    )
    add_migration(migrations, "9998", body.format("login_throttles"))
    add_migration(migrations, "9999", body.format("users"), "9998")


def begin(instance: Path) -> int:
    """Upgrade in a process of its own, forked so that it begins at once; return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with core_context(lambda: Settings(instance_path=instance)) as core:
            upgrade_with_copy(core)
        code = 0
    finally:
        os._exit(code)


def end_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state_of(database: Path) -> tuple[str, int, int, int]:
    """Return revision, rows of the two tables, and how many tables have the new column; it must be sound."""
    with closing(sqlite3.connect(database)) as found:
        assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert found.execute("PRAGMA foreign_key_check").fetchall() == []
        (revision,) = found.execute("SELECT version_num FROM alembic_version").fetchone()
        many, few = (found.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _REWRITTEN)
        new = "SELECT count(*) FROM pragma_table_info('users') WHERE name = 'x'"
        return revision, many, few, found.execute(new).fetchone()[0]


def test_an_upgrade_that_is_killed_at_any_moment_is_done_or_not_begun(
    prepared: Path, two_more: None, tmp_path: Path
) -> None:
    database, pristine = prepared / "mushu.sqlite3", tmp_path / "pristine"
    before = (HEAD, _ROWS, 1, 0)
    assert state_of(database) == before
    shutil.copytree(prepared, pristine)
    started = time.monotonic()
    assert end_of(begin(prepared)) == 0
    takes = time.monotonic() - started
    after = ("9999", _ROWS, 1, 1)
    assert state_of(database) == after

    moments = random.Random(5)
    seen: set[str] = set()
    for _ in range(_KILLS):
        shutil.rmtree(prepared)
        shutil.copytree(pristine, prepared)
        child = begin(prepared)
        time.sleep(moments.uniform(0, takes))
        os.kill(child, signal.SIGKILL)
        end_of(child)
        found = state_of(database)
        assert found in (before, after)
        for copy in prepared.glob("before-*"):
            if not copy.name.endswith(PARTIAL):
                assert state_of(copy / "mushu.sqlite3") == before
        seen.add(found[0])
    assert HEAD in seen, "some of them were killed before the commit"

    assert end_of(begin(prepared)) == 0
    assert state_of(database) == after
    copies = list(prepared.glob("before-*"))
    assert [copy for copy in copies if copy.name.endswith(PARTIAL)] == []
    assert [state_of(copy / "mushu.sqlite3") for copy in copies] == [before] * len(copies) != []
