"""A start that migrates: a copy first, all or nothing, and a way back. SQLite; faults that were found in use."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from mushu.server.audit import SYSTEM
from mushu.server.core import Core, context_for, db
from mushu.server.db import reading, writing
from mushu.server.errors import ConfigurationError, MushuError
from mushu.server.instance import make_private
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, State
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.operation import first_run
from mushu.server.operation.upgrading.migrations import pending_migrations
from tests.server.conftest import World
from tests.server.operation.upgrading.conftest import HEAD, content_now, copy_of, go_back
from tests.server.operation.upgrading.test_migrations import add_migration

pytestmark = [pytest.mark.sqlite, pytest.mark.fault, pytest.mark.usefixtures("context")]


def test_a_start_that_migrates_copies_the_database_and_what_encrypts_it_first(
    core: Core, filled: World, next_one: str
) -> None:
    instance = core.settings.instance_path
    core.sealing_keys.begin()
    (instance / "settings.toml").write_text("port = 8001\n")
    make_private(instance / "revoked-keys", "")
    before = content_now()
    former = os.umask(0)
    try:
        said = "\n".join(first_run.prepare(core))
    finally:
        os.umask(former)
    (folder,) = instance.glob("before-9998-*")
    assert f"{folder} holds the database as it was at {HEAD}" in said
    assert f"sh {folder}/go-back.sh" in said
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        ["mushu.sqlite3", "secret_key", "settings.toml", "revoked-keys", "copy.json", "go-back.sh"],
        0o600,
    )
    keys = instance / f"sealing_keys.{folder.name}"
    assert keys.read_bytes() == core.sealing_keys.path.read_bytes()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    for name in ("secret_key", "settings.toml", "revoked-keys"):
        assert (folder / name).read_bytes() == (instance / name).read_bytes()
    with closing(sqlite3.connect(folder / "mushu.sqlite3")) as copied:
        assert copied.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert copied.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
        assert copied.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert pending_migrations() == []
    assert content_now() != before


def test_what_was_written_but_not_checkpointed_is_in_the_copy(core: Core, filled: World, next_one: str) -> None:
    path = core.settings.instance_path / "mushu.sqlite3"
    assert path.with_name("mushu.sqlite3-wal").stat().st_size > 0
    first_run.prepare(core)
    with closing(sqlite3.connect(copy_of(core) / "mushu.sqlite3")) as copied:
        assert copied.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
    assert sorted(path.name for path in copy_of(core).glob("mushu*")) == ["mushu.sqlite3"]


def test_a_migration_that_fails_leaves_everything_as_it_was_and_says_how_to_go_on(
    core: Core, filled: World, next_one: str, migrations: Path
) -> None:
    add_migration(migrations, "9999", "op.execute('DELETE FROM memberships')\nop.execute('SELECT nonsense')", "9998")
    before = content_now()
    with pytest.raises(MushuError) as failed:
        first_run.prepare(core)
    assert "It is as it was before: all migrations were undone together" in str(failed.value)
    assert "no such column: nonsense" in str(failed.value)
    assert "git -C " in str(failed.value), "how the version of before starts again"
    assert content_now() == before
    assert pending_migrations() == ["9998", "9999"]


def test_the_way_back_that_the_message_names_leads_back(core: Core, filled: World, next_one: str) -> None:
    core.sealing_keys.begin()
    former_keys = core.sealing_keys.path.read_bytes()
    before = content_now()
    first_run.prepare(core)
    with writing(db.session):
        db.session.execute(text("INSERT INTO extra VALUES (1)"))
    core.sealing_keys.replace(core.sealing_keys.load().with_new_key().newest_only())
    newer, newer_keys = content_now(), core.sealing_keys.path.read_bytes()

    said = go_back(core)
    assert "git -C" in said
    assert content_now() == before
    assert core.sealing_keys.path.read_bytes() == former_keys
    (aside,) = core.settings.instance_path.glob("replaced-*")
    (former,) = core.settings.instance_path.glob("sealing_keys.replaced-*")
    assert former.read_bytes() == newer_keys
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    assert stat.S_IMODE((core.settings.instance_path / "mushu.sqlite3").stat().st_mode) == 0o600
    with closing(sqlite3.connect(aside / "mushu.sqlite3")) as newer_one:
        assert newer_one.execute("SELECT id FROM extra").fetchall() == [(1,)], "nothing that was written since is lost"
    assert newer != before
    first_run.prepare(core)
    assert pending_migrations() == [], "and forward again"


def test_going_back_revives_no_key_that_was_deleted_since(core: Core, filled: World, next_one: str) -> None:
    with reading(db.session):
        (key_id,) = db.session.scalars(db.select(ApiKey.id))
    first_run.prepare(core)
    with writing(db.session):
        change_state(db.session, core.clock, SYSTEM, key_id, DELETE)
    go_back(core)
    with reading(db.session):
        assert db.session.get_one(ApiKey, key_id).stored_state == State.ACTIVE, "so old is the copy"
    db.session.remove()
    assert (core.settings.instance_path / "revoked-keys").exists()
    keep_house(context_for(SYSTEM))  # what the version of before does before it serves
    with reading(db.session):
        assert db.session.get_one(ApiKey, key_id).stored_state == State.REVOKED


def test_too_little_room_stops_it_before_it_begins(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_now()

    class Usage:
        free = 16 * 1024 * 1024

    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: Usage)
        with pytest.raises(MushuError, match=r"has 16 MB free, and a copy .* take 17 MB. Nothing was migrated"):
            first_run.prepare(core)
    assert content_now() == before
    assert list(core.settings.instance_path.glob("before-*")) == []


def test_two_copies_in_one_second_do_not_meet(core: Core, filled: World, migrations: Path) -> None:
    add_migration(migrations, "9998", "raise ValueError('enough')")
    for _ in range(2):
        with pytest.raises(MushuError):
            first_run.prepare(core)
    assert len(list(core.settings.instance_path.glob("before-*"))) == 2


def test_a_database_of_a_newer_version_names_the_way_back(core: Core, filled: World) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError) as refused:
        first_run.prepare(core)
    assert f"it is at revision 9999, and this code knows revisions up to {HEAD}" in str(refused.value)
    assert "docs/upgrading.md" in str(refused.value)
