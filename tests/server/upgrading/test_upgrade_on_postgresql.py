"""Upgrading a PostgreSQL database: what pg_dump makes is a copy, all or nothing, and a way back.

Needs a server (MUSHU_TEST_POSTGRESQL_URL) and PostgreSQL's client of the same version.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from mushu.server import first_run
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.db import writing
from mushu.server.errors import MushuError, UpgradeFailed
from mushu.server.migrating import pending_migrations
from mushu.server.upgrading import postgresql
from mushu.server.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from tests.server.conftest import POSTGRESQL, World
from tests.server.test_migrating import add_migration
from tests.server.upgrading.conftest import HEAD, content, content_now, copy_of, go_back

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("context")]


@pytest.fixture(scope="module")
def password() -> Iterator[str]:
    """A role with a password that is nowhere but in the settings."""
    name, secret = f"mushu_up_{os.getpid()}", "correct horse 'battery'"
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        quoted = secret.replace("'", "''")
        connection.execute(text(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{quoted}'"))
        yield secret
        databases = "SELECT datname FROM pg_database WHERE datname LIKE :stem"
        for database in connection.scalars(text(databases), {"stem": f"{name}%"}).all():
            connection.execute(text(f'DROP DATABASE "{database}" WITH (FORCE)'))
        connection.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


@pytest.fixture
def settings(tmp_path: Path, password: str, settings: Settings) -> Settings:
    """Settings with a database of the test's own, which a role of its own gets into."""
    name = f"mushu_up_{os.getpid()}"
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name} OWNER {name}"))
    admin.dispose()
    url = make_url(POSTGRESQL).set(database=name, username=name, password=password)
    return replace(settings, database_url=url.render_as_string(hide_password=False))


def copies_in(core: Core) -> list[Path]:
    return list(core.settings.instance_path.glob("before-*"))


@pytest.mark.fault
def test_a_start_that_migrates_dumps_the_database_first_and_the_script_goes_back(
    core: Core, filled: World, next_one: str
) -> None:
    core.sealing_keys.begin()
    before = content_now()
    said = "\n".join(first_run.prepare(core))
    folder = copy_of(core)
    assert f"{folder} holds the database as it was at {HEAD}" in said
    assert (folder / "database.dump").stat().st_mode & 0o777 == 0o600
    keys = core.settings.instance_path / f"sealing_keys.{folder.name}"
    assert keys.read_bytes() == core.sealing_keys.path.read_bytes()
    with writing(db.session):
        db.session.execute(text("INSERT INTO extra VALUES (1)"))
    newer = content_now()
    told = go_back(core)
    database = told.partition("in the place of the database's name: ")[2].partition("\n")[0]
    assert database.startswith(f"mushu_up_{os.getpid()}_before_9998_")
    restored = create_engine(make_url(core.settings.sqlalchemy_url).set(database=database))
    with restored.connect() as connection:
        assert content(connection) == before
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    restored.dispose()
    assert content_now() == newer, "the present one is left as it is"


def test_a_migration_that_fails_leaves_everything_as_it_was(core: Core, filled: World, migrations: Path) -> None:
    add_migration(migrations, "9998", "op.execute('DELETE FROM memberships')\nop.drop_table('key_uses')")
    add_migration(migrations, "9999", "op.execute('SELECT nonsense')", "9998")
    before = content_now()
    with pytest.raises(UpgradeFailed, match="It is as it was before"):
        upgrade_with_copy(core)
    assert content_now() == before
    assert pending_migrations() == ["9998", "9999"]


@pytest.mark.fault
def test_without_pg_dump_nothing_is_migrated_unless_told_so(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_now()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MushuError, match=r"There is no pg_dump here.*Nothing was migrated.*--no-copy"):
        first_run.prepare(core)
    assert content_now() == before
    assert copies_in(core) == []
    assert f"migrated   the database from {HEAD} to 9998" in upgrade_without_copy(core)


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

    monkeypatch.setattr("mushu.server.upgrading.copying.write_manifest", write)
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
