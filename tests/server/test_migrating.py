"""Migrations: up, down, and equal to what the models say."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text

from mushu.server import schema
from mushu.server.config import Settings
from mushu.server.core import MIGRATIONS, core_context, db
from mushu.server.errors import ConfigurationError
from mushu.server.migrating import migrate, pending_migrations

REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


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
    with core_context(lambda: Settings(instance_path=tmp_path)):
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


def test_a_migration_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path)):
        import sqlalchemy as sa
        from alembic import op

        real = op.create_table

        def fail_at_keys(name: str, *args: object, **kwargs: object) -> sa.Table:
            if name == "api_keys":
                raise ValueError("killed")
            return real(name, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(op, "create_table", fail_at_keys)
        with pytest.raises(ValueError, match="killed"):
            migrate()
        assert inspect(db.engine).get_table_names() == []
        monkeypatch.undo()
        assert migrate()
        db.engine.dispose()


def test_a_database_from_the_future_is_left_alone(tmp_path: Path) -> None:
    with core_context(lambda: Settings(instance_path=tmp_path)):
        migrate()
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigurationError, match="newer Mushu"):
            migrate()
        db.engine.dispose()
