"""Migrations: up, down, and equal to what the models say."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from flask_migrate import Migrate, downgrade, upgrade
from sqlalchemy import MetaData, inspect, select, text

from mushu.server import schema
from mushu.server.config import Settings
from mushu.server.core import MIGRATIONS, core_context, db
from mushu.server.db import reading
from mushu.server.errors import ConfigurationError
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate, newest_revisions, pending_migrations, revisions_of

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.database,
    # `test_plans.py` holds that it is there.
    pytest.mark.filterwarnings("ignore:.*expression-based index '?ix_api_keys_by_name"),
]

REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]

_NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@contextmanager
def as_flask_db(instance: Path) -> Iterator[None]:
    """Provide what `flask db` has, whose functions migrate step by step."""
    with core_context(lambda: Settings(instance_path=instance)):
        Migrate(current_app, db)
        yield


def test_migrating_an_empty_database_makes_what_the_models_describe(tmp_path: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path)):
        assert pending_migrations() == REVISIONS
        assert migrate()
        assert not migrate(), "a second time there is nothing to do"
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, schema.metadata) == []
        db.engine.dispose()


def test_every_migration_goes_down_and_up_again(tmp_path: Path) -> None:
    with as_flask_db(tmp_path):
        for revision in REVISIONS:
            upgrade(str(MIGRATIONS), revision)
            downgrade(str(MIGRATIONS), "-1")
            upgrade(str(MIGRATIONS), revision)
        for _ in REVISIONS:
            downgrade(str(MIGRATIONS), "-1")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        db.engine.dispose()


def test_revisions_are_numbered_in_their_order() -> None:
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS


def test_every_constraint_and_index_has_the_name_that_the_convention_gives(tmp_path: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path)):
        migrate()
        found = inspect(db.engine)
        for table in schema.metadata.sorted_tables:
            assert found.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
            for key in found.get_foreign_keys(table.name):
                assert (key["name"] or "").startswith(f"fk_{table.name}_")
        db.engine.dispose()


def test_a_database_from_the_future_is_left_alone(tmp_path: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path)):
        migrate()
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigurationError, match="newer Mushu"):
            migrate()
        db.engine.dispose()


_BEFORE_ROTATION = {
    "users": {"id": "usr_a", "email": "a@example.com", "created_at": _NOW, "tokens_valid_from": _NOW},
    "organizations": {"id": "org_a", "name": "acme", "created_at": _NOW, "created_by": "usr_a"},
    "api_keys": {
        "id": "key_a",
        "org_id": "org_a",
        "name": "k",
        "digest": "a" * 64,
        "last_four": "abcd",
        "scopes": "read",
        "environment": "live",
        "state": "active",
        "created_at": _NOW,
    },
    "deliveries": {
        "id": "dlv_a",
        "key_id": "key_a",
        "uri": "env:/srv/.env#KEY",
        "state": "verified",
        "attempt_id": "att_a",
        "expected_version": "",
        "lease_until": _NOW,
        "created_at": _NOW,
        "cleanup_due": False,
        "on_client": False,
    },
}
_WITH_ROTATION = {
    "api_keys": _BEFORE_ROTATION["api_keys"] | {"id": "key_b", "digest": "b" * 64, "rotate_every": 86_400},
    "rotations": {
        "successor_id": "key_b",
        "predecessor_id": "key_a",
        "settle_seconds": 3_600,
        "deadline_seconds": 86_400,
        "at_deadline": "keep",
        "at_once": False,
        "started_at": _NOW,
    },
    "key_uses": {
        "key_id": "key_b",
        "first_used_at": _NOW,
        "last_used_at": _NOW,
        "last_used_from": "192.0.2.1",
        "requests": 1,
    },
    "journal_positions": {"name": "revoked", "position": 65},
    "destinations": {
        "id": "dst_a",
        "org_id": "org_a",
        "name": "backend-env",
        "environment": "live",
        "uri": "env:/srv/.env#KEY",
        "created_at": _NOW,
        "created_by": "operator ada",
    },
}
_BEFORE_ENVIRONMENTS = {name: value for name, value in _WITH_ROTATION["destinations"].items() if name != "environment"}


def test_keys_and_deliveries_from_before_rotation_go_up_and_down_unharmed(tmp_path: Path) -> None:
    with as_flask_db(tmp_path):
        upgrade(str(MIGRATIONS), "0002")
        insert(_BEFORE_ROTATION)
        before = rows("api_keys", "deliveries")
        upgrade(str(MIGRATIONS))
        assert [key.id for key in keys_of_the_models()] == ["key_a"]
        insert(_WITH_ROTATION)
        assert [key.rotate_every for key in keys_of_the_models()] == [None, 86_400]
        downgrade(str(MIGRATIONS), "0002")
        kept = rows("api_keys", "deliveries")
        assert [row for row in kept if row["id"] != "key_b"] == before
        assert len(kept) == len(before) + 1
        upgrade(str(MIGRATIONS))
        assert [key.rotate_every for key in keys_of_the_models()] == [None, None]
        db.engine.dispose()


#: Per place: the environment and state of each key that was brought there, the state of its delivery, and what follows.
_PLACES: list[tuple[str, list[tuple[str, str, str]], str]] = [
    ("nothing", [], "live"),
    ("live", [("live", "active", "verified")], "live"),
    ("test", [("test", "active", "verified")], "test"),
    ("under-way", [("test", "pending", "pending")], "test"),
    ("test-ended", [("test", "revoked", "removed")], "test"),
    ("live-ended", [("live", "revoked", "removed"), ("test", "revoked", "removed")], "live"),
    ("test-after-live", [("live", "revoked", "removed"), ("test", "active", "verified")], "test"),
    ("replaced", [("live", "active", "replaced"), ("test", "active", "verified")], "test"),
    ("both", [("live", "retiring", "verified"), ("test", "active", "verified")], "live"),
]


def test_destinations_from_before_are_of_the_environment_whose_keys_lie_there(tmp_path: Path) -> None:
    with as_flask_db(tmp_path):
        upgrade(str(MIGRATIONS), "0005")
        insert({name: _BEFORE_ROTATION[name] for name in ("users", "organizations")})
        for name, keys, _ in _PLACES:
            uri = f"env:/srv/{name}#KEY"
            insert({"destinations": _BEFORE_ENVIRONMENTS | {"id": f"dst_{name}", "name": name, "uri": uri}})
            for number, (environment, key_state, state) in enumerate(keys):
                one = f"{name}-{number}"
                key = {"id": one, "digest": one, "environment": environment, "state": key_state}
                insert({"api_keys": _BEFORE_ROTATION["api_keys"] | key})
                delivery = {"id": one, "key_id": one, "uri": uri, "state": state}
                insert({"deliveries": _BEFORE_ROTATION["deliveries"] | delivery})
        before = rows("destinations")
        upgrade(str(MIGRATIONS))
        found = {str(row["name"]): row["environment"] for row in rows("destinations")}
        assert found == {name: environment for name, _, environment in _PLACES}
        with db.engine.begin() as connection:  # as it is possible now
            twin = "SELECT 'dst_twin', org_id, name, 'env:/twin', created_at, created_by, 'test' FROM destinations"
            connection.execute(
                text(
                    "INSERT INTO destinations (id, org_id, name, uri, created_at, created_by, environment) "
                    f"{twin} WHERE name = 'live'"
                )
            )
        downgrade(str(MIGRATIONS), "0005")
        kept = rows("destinations")
        assert {row["id"] for row in kept} == {row["id"] for row in before} | {"dst_twin"}
        assert {row["uri"] for row in kept if row["name"] == "live-test"} == {"env:/twin"}
        db.engine.dispose()


#: Tenant, token and user of each device in the order of registration, and what is left of them.
_DEVICES = [
    ("t", "ABCDEF01", "ada", None),
    ("t", "abcdef01", "grace", None),
    ("t", "ABcdef01", "heidi", "abcdef01"),
    ("u", "ABCDEF01", "ivan", None),
    ("u", "abcdef01", "judy", "abcdef01"),
    ("u", "ABCDEF02", "kim", "abcdef02"),
    ("u", "ABCDEFGH", "lee", "ABCDEFGH"),
    ("u", "abcdefgh", "mia", "abcdefgh"),
]


@pytest.mark.fault
def test_of_a_device_that_was_stored_in_two_spellings_the_newest_registration_stays(tmp_path: Path) -> None:
    with as_flask_db(tmp_path):
        upgrade(str(MIGRATIONS), "0009")
        insert({name: _BEFORE_ROTATION[name] for name in ("users", "organizations")})
        for tenant in ("t", "u"):
            row = {"id": tenant, "org_id": "org_a", "bundle_id": "com.example.shop", "use_sandbox": False}
            insert({"tenants": row | {"created_at": _NOW, "created_by": "operator ada", "environment": "live"}})
        for number, (tenant, token, user, _) in enumerate(_DEVICES):
            moments = {"created_at": _NOW, "registered_at": _NOW + timedelta(minutes=number)}
            names: dict[str, object] = {
                "id": f"device_{9 - number}",
                "tenant_id": tenant,
                "token": token,
                "user_id": user,
            }
            insert({"devices": names | moments | {"platform": "ios", "environment": "live"}})
        upgrade(str(MIGRATIONS))
        left = {(row["tenant_id"], row["token"], row["user_id"]) for row in rows("devices")}
        assert left == {(tenant, kept, user) for tenant, _, user, kept in _DEVICES if kept}
        db.engine.dispose()


def insert(tables: dict[str, dict[str, object]]) -> None:
    """Add one row to each table, as the database describes it by now."""
    found = MetaData()
    with db.engine.begin() as connection:
        found.reflect(connection)
        for name, row in tables.items():
            connection.execute(found.tables[name].insert(), row)


def rows(*tables: str) -> list[dict[str, object]]:
    with db.engine.connect() as connection:
        found = [connection.execute(text(f"SELECT * FROM {table} ORDER BY id")) for table in tables]
        return [dict(row) for result in found for row in result.mappings()]


def keys_of_the_models() -> list[ApiKey]:
    with reading(db.session):
        query = select(ApiKey).order_by(ApiKey.id).execution_options(populate_existing=True)
        return list(db.session.scalars(query))


def test_the_newest_migration_is_the_one_that_alembic_would_find(tmp_path: Path, migrations: Path) -> None:
    """Also where two have one before them, and where one comes after both: nothing is loaded for it."""
    assert newest_revisions() == {REVISIONS[-1]}
    for name, after, newest in (
        ("9997", REVISIONS[-1], {"9997"}),
        ("9998", REVISIONS[-1], {"9997", "9998"}),
        ("9999", ("9997", "9998"), {"9999"}),
    ):
        add_migration(migrations, name, "pass", after)
        assert newest_revisions() == {*ScriptDirectory(str(migrations)).get_heads()} == newest
    with core_context(lambda: Settings(instance_path=tmp_path / "instance")):
        with db.engine.connect() as connection:
            assert revisions_of(connection) == MigrationContext.configure(connection).get_current_heads() == ()
        db.engine.dispose()


def add_migration(folder: Path, name: str, body: str, after: str | tuple[str, ...] = REVISIONS[-1]) -> None:
    """Write a migration into a copy of the folder of migrations."""
    text = f"from alembic import op\nimport sqlalchemy as sa\nrevision = {name!r}\ndown_revision = {after!r}\n\n\n"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "versions" / f"{name}.py").write_text(f"{text}def upgrade() -> None:\n{lines}\n")


@pytest.mark.sqlite
@pytest.mark.fault
def test_a_migration_that_breaks_references_leaves_nothing_behind(tmp_path: Path, migrations: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path / "instance")):
        migrate()
        lost = "INSERT INTO memberships (org_id, user_id, role, joined_at) VALUES ('org_x', 'usr_x', 'member', '2026')"
        add_migration(migrations, "9998", f"op.execute({lost!r})")
        with pytest.raises(RuntimeError, match="2 references that lead nowhere"):
            migrate()
        with db.engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM memberships")) == 0
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == REVISIONS[-1]
        db.engine.dispose()


@pytest.mark.sqlite
def test_references_that_were_broken_before_stop_no_migration(tmp_path: Path, migrations: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path / "instance")):
        migrate()
        with db.engine.connect() as connection:
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF")
            driver.execute("INSERT INTO memberships VALUES ('org_x', 'usr_x', 'member', '2026')")
            driver.execute("PRAGMA foreign_keys=ON")
        add_migration(migrations, "9998", "op.create_table('extra', sa.Column('id', sa.Integer()))")
        assert migrate()
        assert "extra" in inspect(db.engine).get_table_names()
        db.engine.dispose()


@pytest.mark.sqlite
@pytest.mark.fault
def test_a_folder_with_a_percent_sign_in_its_name_can_be_migrated(
    tmp_path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = migrations.rename(tmp_path / "100%")
    monkeypatch.setattr("mushu.server.operation.upgrading.migrations.MIGRATIONS", odd)
    with core_context(lambda: Settings(instance_path=tmp_path / "instance")):
        assert migrate()
        db.engine.dispose()
