"""Upgrading a SQLite database: a copy first, all or nothing, and a way back."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from mushu.server.core import Core, db
from mushu.server.errors import UpgradeFailed
from mushu.server.operation import first_run
from mushu.server.operation.upgrading import copies, in_use
from mushu.server.operation.upgrading.copies import list_copies
from mushu.server.operation.upgrading.migrations import pending_migrations
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.operation.upgrading.conftest import HEAD, content_now, copy_of, go_back
from tests.server.operation.upgrading.test_migrations import add_migration

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite, pytest.mark.usefixtures("context")]

_COPY_USERS = """\
with op.batch_alter_table('users', recreate='always') as batch:
    batch.add_column(sa.Column('x', sa.Text()))
"""


@pytest.mark.parametrize(
    "body",
    [
        "with op.batch_alter_table('api_keys') as batch:\n    batch.add_column(sa.Column('x', sa.Text()))",
        _COPY_USERS,
        "op.drop_table('key_uses')",
        "op.execute('UPDATE users SET email = id')",
        "op.execute('PRAGMA user_version = 7')",
    ],
    ids=["a copied table", "a table others refer to", "a dropped table", "rows", "a pragma"],
)
def test_nothing_of_what_a_failed_migration_did_stays(core: Core, filled: World, migrations: Path, body: str) -> None:
    add_migration(migrations, "9998", body)
    add_migration(migrations, "9999", "raise ValueError('enough')", "9998")
    before = content_now()
    with pytest.raises(UpgradeFailed, match="enough"):
        upgrade_with_copy(core)
    assert content_now() == before
    with db.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA user_version")) == 0
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_what_needs_no_migration_and_what_is_new_is_not_copied(core: Core, filled: World, tmp_path: Path) -> None:
    assert upgrade_with_copy(core) == []
    assert list_copies(core.settings.instance_path) == []


def test_a_table_that_others_refer_to_can_be_copied_and_keeps_what_refers_to_it(
    core: Core, filled: World, migrations: Path
) -> None:
    add_migration(
        migrations,
        "9998",
        _COPY_USERS,
    )
    upgrade_with_copy(core)
    with db.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM memberships")) == 1
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_going_back_twice_or_cut_off_half_way_still_leads_back(core: Core, filled: World, next_one: str) -> None:
    before = content_now()
    upgrade_with_copy(core)
    database = core.settings.instance_path / "mushu.sqlite3"
    db.engine.dispose()
    for step in ("the new one is there", "the log is gone", "the database is gone"):
        shutil.copy(copy_of(core) / "mushu.sqlite3", f"{database}.new")
        if step == "the database is gone":
            database.unlink()
        go_back(core)
        assert content_now() == before


def test_a_path_with_odd_letters_can_be_gone_back_to(core: Core, filled: World, next_one: str, tmp_path: Path) -> None:
    from mushu.server.config import Settings
    from mushu.server.core import core_context
    from mushu.server.operation.upgrading.migrations import migrate

    odd = tmp_path / "it's $HOME `here` 100% ü"
    with core_context(lambda: Settings(instance_path=odd)) as other:
        migrate()
        with db.engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
            connection.execute(text("DROP TABLE extra"))
        before = content_now()
        upgrade_with_copy(other)
        go_back(other)
        assert content_now() == before


def test_a_server_that_still_works_with_the_database_stops_the_upgrade(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_use, "PATIENCE", 0.0)
    path = core.settings.instance_path / "mushu.sqlite3"
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM users').fetchall(); "
        "print('open', flush=True); input()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = content_now()
        with pytest.raises(UpgradeFailed, match=rf"Process {other.pid} has .* open. Nothing was migrated"):
            upgrade_with_copy(core)
        assert content_now() == before
        other.communicate(b"\n")
    upgrade_with_copy(core)
    assert pending_migrations() == []


def test_own_connections_do_not_stop_the_upgrade(core: Core, filled: World, next_one: str) -> None:
    with db.engine.connect() as held:
        held.execute(text("SELECT 1")).all()
    upgrade_with_copy(core)
    assert pending_migrations() == []


def test_without_a_copy_where_that_is_asked_for(core: Core, filled: World, next_one: str) -> None:
    assert "copy       none was made" in first_run.prepare(core, upgrade_without_copy)
    assert list_copies(core.settings.instance_path) == []
    assert pending_migrations() == []


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")])
def test_a_copy_that_cannot_be_finished_is_taken_away_and_nothing_is_migrated(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: object) -> None:
        raise fault

    core.sealing_keys.begin()
    monkeypatch.setattr("mushu.server.operation.upgrading.copying.write_manifest", fail)
    before = content_now()
    with pytest.raises(UpgradeFailed, match=r"No copy of the database could be made .* Nothing was migrated"):
        upgrade_with_copy(core)
    assert content_now() == before
    assert list(core.settings.instance_path.glob("*before-*")) == []


def test_a_copy_that_lacks_rows_is_refused(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(({"api_keys": 1}, {"api_keys": 0}))
    monkeypatch.setattr("mushu.server.operation.upgrading.sqlite._rows", lambda _: next(counts))
    with pytest.raises(UpgradeFailed, match="has not all rows"):
        upgrade_with_copy(core)
    assert list(core.settings.instance_path.glob("before-*")) == []


def test_a_copy_that_was_cut_off_is_removed_and_made_again(core: Core, filled: World, next_one: str) -> None:
    left = core.settings.instance_path / f"before-9998-20260101T000000Z{copies.PARTIAL}"
    left.mkdir()
    (left / "mushu.sqlite3").write_bytes(b"SQLite format 3\0")
    foreign = core.settings.instance_path / "before-noon"
    foreign.mkdir()
    said = upgrade_with_copy(core)
    assert f"removed    {left}: a copy that was cut off" in said
    assert not left.exists()
    assert foreign.exists(), "what is not ours stays"
    assert len(list_copies(core.settings.instance_path)) == 1


def test_what_fails_again_and_again_fills_no_disk(
    core: Core, filled: World, clock: TurnableClock, migrations: Path
) -> None:
    add_migration(migrations, "9998", "raise ValueError('enough')")
    for _ in range(4):
        with pytest.raises(UpgradeFailed):
            upgrade_with_copy(core)
        clock.turn(minutes=1)
    kept = list_copies(core.settings.instance_path)
    assert [copy.folder.name for copy in kept] == ["before-9998-20260115T103000Z", "before-9998-20260115T103300Z"]


def test_sealing_keys_that_are_kept_apart_stay_apart(
    core: Core, filled: World, migrations: Path, tmp_path: Path, clock: TurnableClock
) -> None:
    (apart := tmp_path / "apart").mkdir(mode=0o700)
    elsewhere = replace(core, settings=replace(core.settings, sealing_keys_file=str(apart / "keys")))
    elsewhere.sealing_keys.begin()
    former = elsewhere.sealing_keys.path.read_bytes()
    add_migration(migrations, "9998", "raise ValueError('enough')")
    for _ in range(3):
        with pytest.raises(UpgradeFailed):
            upgrade_with_copy(elsewhere)
        clock.turn(minutes=1)
    copies = sorted(path.name for path in core.settings.instance_path.glob("before-*"))
    assert sorted(path.name for path in apart.iterdir()) == ["keys", *(f"keys.{name}" for name in copies)]
    assert list(core.settings.instance_path.rglob("*keys*")) == []
    elsewhere.sealing_keys.replace(elsewhere.sealing_keys.load().with_new_key().newest_only())
    db.session.remove()
    db.engine.dispose()
    script = core.settings.instance_path / copies[0] / "go-back.sh"
    subprocess.run(["/bin/sh", str(script)], capture_output=True, check=True)
    assert elsewhere.sealing_keys.path.read_bytes() == former


def test_copies_of_the_last_three_revisions_stay(
    core: Core, filled: World, clock: TurnableClock, migrations: Path
) -> None:
    said: list[str] = []
    for number in range(9990, 9995):
        add_migration(migrations, str(number), "pass", HEAD if number == 9990 else str(number - 1))
        said = upgrade_with_copy(core)
        clock.turn(days=30)
    kept = [copy.revision for copy in list_copies(core.settings.instance_path)]
    assert kept == ["9991", "9992", "9993"]
    assert [line for line in said if line.startswith("removed")] == [
        f"removed    {core.settings.instance_path}/before-9991-20260214T103000Z: a copy of an older revision"
    ]


def test_a_start_beside_a_start_waits_and_migrates_nothing_twice(core: Core, filled: World, next_one: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from mushu.server.core import core_context

    def start() -> list[str]:
        with core_context(lambda: core.settings) as own:
            return upgrade_with_copy(own)

    with ThreadPoolExecutor(4) as pool:
        said = [line for lines in pool.map(lambda _: start(), range(4)) for line in lines]
    assert sum(line.startswith("migrated") for line in said) == 1
    assert "extra" in inspect(db.engine).get_table_names()


def test_no_write_falls_between_the_copy_and_the_migration(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = core.settings.instance_path / "mushu.sqlite3"
    tried: list[str] = []

    def write(*_: object) -> None:
        with closing(sqlite3.connect(path, timeout=0)) as writer:
            try:
                writer.execute("DELETE FROM memberships")
            except sqlite3.OperationalError as error:
                tried.append(str(error))

    monkeypatch.setattr("mushu.server.operation.upgrading.copying.write_manifest", write)
    upgrade_with_copy(core)  # the manifest is written once the copy is made
    assert tried == ["database is locked"]


def test_going_back_under_a_running_server_is_refused(
    core: Core, filled: World, next_one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_with_copy(core)
    now = content_now()
    fuser = tmp_path / "fuser"
    fuser.write_text("#!/bin/sh\nexit 0\n")
    fuser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        go_back(core)
    assert "is in use. Stop the server first." in refused.value.stderr
    assert content_now() == now


def test_it_says_nothing_that_it_does_not_know(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise OSError("the connection was lost")

    seen: list[list[str]] = [["9998"], []]
    monkeypatch.setattr("mushu.server.operation.upgrading.upgrade.apply_migrations", lost)
    monkeypatch.setattr("mushu.server.operation.upgrading.upgrade.pending_migrations", lambda: seen.pop(0))
    with pytest.raises(UpgradeFailed, match=r"the connection was lost\). It is migrated all the same"):
        upgrade_with_copy(core)

    def unreachable() -> list[str]:
        if not seen:
            seen.append([])
            return ["9998"]
        raise OSError("no route")

    monkeypatch.setattr("mushu.server.operation.upgrading.upgrade.pending_migrations", unreachable)
    with pytest.raises(UpgradeFailed, match=r"It does not answer.*as it was before, or migrated"):
        upgrade_with_copy(core)
