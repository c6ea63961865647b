"""Upgrading a PostgreSQL database: what pg_dump makes is a copy, all or nothing, and a way back.

Needs a server (MUSHU_TEST_POSTGRESQL_URL) and PostgreSQL's client of the same version.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mushu.server.core import Core, core_context, db
from mushu.server.errors import UpgradeFailed
from mushu.server.operation.upgrading import postgresql
from mushu.server.operation.upgrading.migrations import pending_migrations
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from tests.server.conftest import World
from tests.server.operation.upgrading.conftest import HEAD, content_now, copy_of
from tests.server.operation.upgrading.test_migrations import add_migration

pytestmark = [pytest.mark.database, pytest.mark.postgresql, pytest.mark.usefixtures("context")]


def copies_in(core: Core) -> list[Path]:
    return list(core.settings.instance_path.glob("before-*"))


def test_a_migration_that_fails_leaves_everything_as_it_was(core: Core, filled: World, migrations: Path) -> None:
    add_migration(migrations, "9998", "op.execute('DELETE FROM memberships')\nop.drop_table('key_uses')")
    add_migration(migrations, "9999", "op.execute('SELECT nonsense')", "9998")
    before = content_now()
    with pytest.raises(UpgradeFailed, match="It is as it was before"):
        upgrade_with_copy(core)
    assert content_now() == before
    assert pending_migrations() == ["9998", "9999"]


def pretend(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a pg_dump first on the path that is not PostgreSQL's."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "pg_dump").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'pg_dump (PostgreSQL) 9.6.1'", r"is of version 9 and the server of \d+: an older pg_dump"),
        ('[ "$1" = --version ] && exec echo "pg_dump 99" ; echo "disk full" >&2; exit 1', "made no copy .disk full."),
        ('[ "$1" = --version ] && exec echo "pg_dump 99" ; exit 0', "has not all rows of"),
    ],
    ids=["too old", "fails", "writes nothing"],
)
def test_a_dump_that_is_none_stops_it(
    core: Core, filled: World, next_one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    before = content_now()
    pretend(tmp_path, script, monkeypatch)
    with pytest.raises(UpgradeFailed, match=f"{says}.*Nothing was migrated"):
        upgrade_with_copy(core)
    assert content_now() == before
    assert copies_in(core) == []


def test_the_password_is_in_no_argument(
    core: Core, filled: World, next_one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    seen = tmp_path / "seen"
    real = shutil.which("pg_dump")
    monkeypatch.setenv("SECRET_OF_ANOTHER", "unseen")
    pretend(tmp_path, f'echo "$@" >>{seen}; env >>{seen}.env; exec {real} "$@"', monkeypatch)
    upgrade_with_copy(core)
    assert "--dbname=" in seen.read_text()
    assert password not in seen.read_text()
    assert "unseen" not in (tmp_path / "seen.env").read_text()
    assert password not in (copy_of(core) / "go-back.sh").read_text()


def test_writers_wait_from_the_copy_to_the_end_and_readers_do_not(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def write(*_: object) -> None:
        other = create_engine(core.settings.sqlalchemy_url)
        with other.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM api_keys")) == 1
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            try:
                connection.execute(text("DELETE FROM memberships"))
            except Exception as error:
                tried.append(str(error))
        other.dispose()

    monkeypatch.setattr("mushu.server.operation.upgrading.copying.write_manifest", write)
    upgrade_with_copy(core)
    assert "lock timeout" in tried[0]


def test_other_connections_are_told_of(core: Core, filled: World, next_one: str) -> None:
    other = create_engine(core.settings.sqlalchemy_url)
    with other.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        said = "\n".join(upgrade_with_copy(core))
    other.dispose()
    assert "note       1 other connections to the database are open: restart every server" in said


def test_starts_side_by_side_migrate_once(core: Core, filled: World, next_one: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def start(number: int) -> list[str]:
        elsewhere = replace(core.settings, instance_path=core.settings.instance_path / f"machine {number}")
        with core_context(lambda: elsewhere) as own:
            return upgrade_with_copy(own)

    with ThreadPoolExecutor(3) as pool:
        said = [line for lines in pool.map(start, range(3)) for line in lines]
    assert sum(line.startswith("migrated") for line in said) == 1


def test_an_empty_database_is_not_dumped(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    monkeypatch.setenv("PATH", "/nonexistent")
    upgrade_with_copy(core)
    assert pending_migrations() == []
    assert copies_in(core) == []


def test_the_rows_of_a_dump_are_counted_by_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["COPY public.a (id) FROM stdin;", "COPY public.b (", r"\N", r"\.", "", 'COPY "c" (x) FROM stdin;', r"\."]
    dump = tmp_path / "dump"
    dump.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr("shutil.which", lambda _: str(tmp_path / "cat"))
    (tmp_path / "cat").write_text('#!/bin/sh\nexec cat "$3"\n')
    (tmp_path / "cat").chmod(0o755)
    assert postgresql._rows_of(dump) == {"a": 2, "c": 0}


def test_without_pg_dump_it_goes_on_where_no_copy_is_asked_for(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert f"migrated   the database from {HEAD} to 9998" in upgrade_without_copy(core)
