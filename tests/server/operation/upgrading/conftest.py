"""A database of before, which holds something, and migrations that are to come."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from mushu.destination import Surroundings, open_destination
from mushu.server.config import Settings
from mushu.server.core import MIGRATIONS, Core, db
from mushu.server.core import install as install_core
from mushu.server.operation.upgrading.migrations import migrate
from tests.conftest import TurnableClock
from tests.server.conftest import CHEAP_ARGON2, POSTGRESQL, World
from tests.server.operation.upgrading.test_migrations import REVISIONS, add_migration

HEAD = REVISIONS[-1]


@pytest.fixture(scope="session")
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
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings with a database of the test's own, which on PostgreSQL a role with a password gets into."""
    found = Settings(instance_path=tmp_path / "instance", usage_seconds=0, **CHEAP_ARGON2)
    if not POSTGRESQL:
        return found
    name, password = f"mushu_up_{os.getpid()}", request.getfixturevalue("password")
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name} OWNER {name}"))
    admin.dispose()
    url = make_url(POSTGRESQL).set(database=name, username=name, password=password)
    return replace(found, database_url=url.render_as_string(hide_password=False))


@pytest.fixture
def core(settings: Settings, clock: TurnableClock, tmp_path: Path) -> Core:
    return Core(settings, clock, lambda uri: open_destination(uri, Surroundings(tmp_path)))


@pytest.fixture
def context(core: Core) -> Iterator[None]:
    plain = Flask("mushu.server", static_folder=None)
    install_core(plain, core)
    with plain.app_context():
        migrate()
        yield
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of migrations that a test can add to."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("mushu.server.operation.upgrading.migrations.MIGRATIONS", folder)
    return folder


@pytest.fixture
def filled(world: World) -> World:
    """A database at today's revision that holds an organization with a key."""
    world.key(world.org())
    return world


@pytest.fixture
def next_one(migrations: Path) -> str:
    """A migration that is missing, and what it makes: a table named `extra`."""
    add_migration(migrations, "9998", "op.create_table('extra', sa.Column('id', sa.Integer()))")
    return "9998"


def content(connection: Connection) -> str:
    """Return a digest of the schema and of every row."""
    dump: list[str] = []
    if connection.dialect.name == "sqlite":
        dump += [str(row) for row in connection.execute(text("SELECT type, name, sql FROM sqlite_schema ORDER BY 2"))]
    for table in sorted(inspect(connection).get_table_names()):
        dump += [table, *sorted(str(tuple(row)) for row in connection.execute(text(f'SELECT * FROM "{table}"')))]
    return hashlib.sha256("\n".join(dump).encode()).hexdigest()


def content_now() -> str:
    with db.engine.connect() as connection:
        found = content(connection)
    db.engine.dispose()
    return found


def copy_of(core: Core) -> Path:
    """Return the folder of the one copy that there is."""
    (folder,) = core.settings.instance_path.glob("before-*")
    return folder


def go_back(core: Core) -> str:
    """Run the script of the one copy that there is; return what it says."""
    db.session.remove()
    db.engine.dispose()
    command = ["/bin/sh", str(copy_of(core) / "go-back.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
