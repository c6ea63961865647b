"""A server in a process: settings, a migrated database, an app, and a world to put people and keys into.

The database is SQLite, or PostgreSQL where MUSHU_TEST_POSTGRESQL_URL names a server and MUSHU_TEST_ON_POSTGRESQL is
set: the same tests run on both.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, make_url, text

from mushu.destination import Surroundings, open_destination
from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.secret import Secret
from mushu.server import schema
from mushu.server.app import create_app
from mushu.server.audit import SYSTEM
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.core import install as install_core
from mushu.server.db import writing
from mushu.server.keys import DEFAULT_SCOPES, Scope
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.orgs.members import add_member
from mushu.server.orgs.models import Organization, Role
from mushu.server.orgs.service import create_org
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.users.service import create_user, set_password
from tests.conftest import TurnableClock
from tests.server.verbs import issue_key

POSTGRESQL = os.environ.get("MUSHU_TEST_POSTGRESQL_URL", "") if os.environ.get("MUSHU_TEST_ON_POSTGRESQL") else ""

#: Argon2id at its weakest: the tests are about what is done with it.
CHEAP_ARGON2: dict[str, Any] = {"argon2_time_cost": 1, "argon2_memory_kib": 8}
#: Uses are written down, and requests logged, when a test says so.
_QUIET: dict[str, Any] = {"usage_seconds": 0, "access_log": "off", **CHEAP_ARGON2}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that are about one database out of a run on the other."""
    other = "sqlite" if POSTGRESQL else "postgresql"
    about_other = [item for item in items if item.get_closest_marker(other)]
    if about_other:
        config.hook.pytest_deselected(items=about_other)
        items[:] = [item for item in items if item not in about_other]


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | Path]:
    """A database with the schema: the path of a SQLite file to copy, or the URL of a PostgreSQL database to empty."""
    instance = tmp_path_factory.mktemp("template") / "instance"
    if not POSTGRESQL:
        settings = Settings(instance_path=instance)
        with core_context(lambda: settings):
            migrate()
            with db.engine.connect() as connection:
                connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
            db.engine.dispose()
        yield instance / "mushu.sqlite3"
        return
    name = f"mushu_test_{os.getpid()}_{secrets.token_hex(4)}"  # a module that imports this has one of its own
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    settings = Settings(instance_path=instance, database_url=url)
    with core_context(lambda: settings):
        migrate()
        db.engine.dispose()
    yield url
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def settings(tmp_path: Path, database_template: str | Path) -> Settings:
    """Settings with a database of the test's own."""
    return settings_on(tmp_path / "instance", database_template)


def settings_on(instance: Path, template: str | Path) -> Settings:
    """Return settings for a new instance folder and an empty database: a copy of the template, or that, emptied."""
    if isinstance(template, Path):
        instance.mkdir(mode=0o700)
        shutil.copy(template, instance / "mushu.sqlite3")
        (instance / "mushu.sqlite3").chmod(0o600)
        return Settings(instance_path=instance, **_QUIET)
    engine = create_engine(template)
    tables = reversed(schema.metadata.sorted_tables)
    with engine.begin() as connection:  # six times as fast as TRUNCATE where there are few rows
        connection.exec_driver_sql("; ".join(f"DELETE FROM {table.name}" for table in tables))
    engine.dispose()
    return Settings(instance_path=instance, database_url=template, **_QUIET)


def quiet_app(core: Core) -> Flask:
    """Return the application, whose logs go where pytest catches them."""
    handlers = logging.getLogger().handlers[:]
    app = create_app(core)
    logging.getLogger().handlers = handlers
    return app


@pytest.fixture
def core(settings: Settings, clock: TurnableClock, tmp_path: Path) -> Core:
    return Core(settings, clock, lambda uri: open_destination(uri, Surroundings(tmp_path)))


@pytest.fixture
def app(core: Core) -> Iterator[Flask]:
    """The whole application."""
    app = quiet_app(core)
    app.testing = False  # errors are answered as they are in production
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def context(request: pytest.FixtureRequest, core: Core) -> Iterator[None]:
    """The database in an app context: of the whole application where a test asks for that, and without the web else.

    Making the web takes longer than most tests that do without it.
    """
    if "app" in request.fixturenames:
        request.getfixturevalue("app")
        yield
        return
    plain = Flask("mushu.server", static_folder=None)
    install_core(plain, core)
    with plain.app_context():
        yield
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass
class World:
    """Makes people, organizations and credentials through the services."""

    clock: Clock
    core: Core
    password: str = field(default="correct horse battery", init=False)

    def user(self, email: str | None = None, *, with_password: bool = False) -> User:
        hashed = self.core.passwords.hash(Secret(self.password)) if with_password else None
        with writing(db.session):
            user = create_user(db.session, self.clock, SYSTEM, email or f"{public_id('u')}@example.com")
            if hashed is not None:
                set_password(db.session, self.clock, SYSTEM, user, hashed)
        return user

    def org(self, owner: User | None = None, name: str = "acme") -> Organization:
        owner = owner or self.user()
        with writing(db.session):
            return create_org(db.session, self.clock, SYSTEM, name, owner.id)

    def member(self, org: Organization, role: Role) -> User:
        user = self.user()
        with writing(db.session):
            add_member(db.session, self.clock, SYSTEM, org.id, user.id, role)
        return user

    def owner_of(self, org: Organization) -> User:
        found = db.session
        with writing(found):
            return found.get_one(User, org.created_by)

    def key(
        self,
        org: Organization,
        *scopes: Scope,
        environment: Environment = Environment.LIVE,
        lives_seconds: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Return an active key and its plaintext."""
        from datetime import timedelta

        expires_at = self.clock() + timedelta(seconds=lives_seconds) if lives_seconds else None
        request = KeyRequest(
            org_id=org.id, name="k", scopes=scopes or DEFAULT_SCOPES, environment=environment, expires_at=expires_at
        )
        with writing(db.session):
            key, secret = issue_key(db.session, self.clock, SYSTEM, request)
        return key, secret.reveal()

    def token(self, user: User) -> str:
        with writing(db.session):
            return issue_token(db.session, self.clock, user)[1].reveal()


@pytest.fixture
def world(context: None, core: Core) -> World:
    return World(core.clock, core)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def api_key(key: str) -> dict[str, str]:
    return {"Authorization": f"ApiKey {key}"}
