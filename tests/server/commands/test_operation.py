"""`flask database upgrade`, and Flask-Migrate's own commands, which have a copy made as well."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from mushu.server.config import Settings
from mushu.server.core import MIGRATIONS, core_context, db
from mushu.server.operation.upgrading.migrations import pending_migrations
from tests.server.commands.conftest import Run
from tests.server.operation.upgrading.test_migrations import REVISIONS

pytestmark = [pytest.mark.sqlite, pytest.mark.usefixtures("acme")]


def copies_in(settings: Settings) -> list[Path]:
    return sorted(settings.instance_path.glob("before-*"))


@pytest.fixture
def app_of_flask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `flask` load the app anew, on the instance of this test."""
    monkeypatch.setenv("FLASK_APP", str(MIGRATIONS.parent / "wsgi.py"))
    monkeypatch.delitem(sys.modules, "wsgi", raising=False)


def test_there_is_nothing_to_do(run: Run, settings: Settings) -> None:
    assert run("database", "upgrade").stdout == "The database is up to date.\n"
    assert copies_in(settings) == []


@pytest.mark.fault
@pytest.mark.usefixtures("app_of_flask")
def test_flask_db_downgrade_and_upgrade_have_a_copy_made_first(run: Run, settings: Settings) -> None:
    down = run("db", "downgrade")
    (copy,) = copies_in(settings)
    assert f"{copy} holds the database as it was at {REVISIONS[-1]}" in down.stdout
    up = run("db", "upgrade")
    (first,) = set(copies_in(settings)) - {copy}
    assert f"{first} holds the database as it was at {REVISIONS[-2]}" in up.stdout
    run("db", "current")
    run("db", "history")
    assert len(copies_in(settings)) == 2, "what changes nothing makes no copy"


def test_what_is_missing_is_applied_after_a_copy_or_without(run: Run, settings: Settings) -> None:
    for arguments, copied in ((("--no-copy",), 0), ((), 1)):
        with core_context(lambda: settings), db.engine.begin() as connection:
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.downgrade(config, "-1")
        done = run("database", "upgrade", *arguments)
        assert (done.code, done.stderr) == (0, "")
        assert f"migrated   the database from {REVISIONS[-2]} to {REVISIONS[-1]}" in done.stdout
        assert len(copies_in(settings)) == copied
        with core_context(lambda: settings):
            assert pending_migrations() == []


def test_a_database_is_copied_by_either_name_and_compared(run: Run, settings: Settings, tmp_path: Path) -> None:
    named = ("copy", "--from", settings.sqlalchemy_url, "--to", f"sqlite:///{tmp_path}/copy.sqlite3")
    done = run("db", *named)
    assert "users" in done.stdout
    assert "All rows are the same. Name the copy in MUSHU_DATABASE_URL" in done.stderr
    again = run("database", *named)
    assert (again.code, again.stdout) == (0, done.stdout)
    assert "whole copy already" in again.stderr
    run("users", "create", "--email", "bob@example.com")
    refused = run("db", *named)
    assert (refused.code, refused.stdout) == (1, "")
    assert "holds other rows" in refused.stderr


@pytest.mark.fault
@pytest.mark.usefixtures("app_of_flask")
def test_what_no_migration_may_touch_ends_each_command_of_flask_migrate_with_a_sentence(
    run: Run, settings: Settings
) -> None:
    """They ended with a traceback or the mere name of a revision; `stamp --purge` passed a copy off as whole."""
    commands = (
        ("upgrade",), ("downgrade",), ("current",), ("check",), ("stamp", "head"), ("stamp", "--purge", "head"),
        ("migrate", "-m", "x"), ("history", "-i"),
    )  # fmt: skip
    for revision, sentence in (("copying", "a copy that is not finished"), ("9999", "made by a newer Mushu")):
        with core_context(lambda: settings), db.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :made"), {"made": revision})
        for command in commands:
            refused = run("db", *command)
            assert (refused.code, sentence in refused.stderr) == (1, True), command
            assert "Error: This database " in refused.stderr
    assert copies_in(settings) == []
    refused = run("db", "upgrade", "--sql")
    assert (refused.code, "Omit --sql." in refused.stderr) == (1, True)


def test_a_newer_database_ends_it_with_a_sentence(run: Run, settings: Settings) -> None:
    with core_context(lambda: settings), db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    done = run("database", "upgrade")
    assert done.code == 1
    assert "made by a newer Mushu: it is at revision 9999" in done.stderr
