"""`flask doctor`: each fault is found, and the way to mend it is named."""

import os
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.instance import JOURNAL_FILE
from tests.server.commands.conftest import Run
from tests.server.verbs import use_key

pytestmark = pytest.mark.database


def bad(run: Run) -> dict[str, str]:
    """Return what doctor finds wrong, by check."""
    ran = run("doctor", "--json")
    found = {check["check"]: check["detail"] for check in ran.json if not check["ok"]}
    assert ran.code == (1 if found else 0)
    return found


def told(run: Run) -> dict[str, str]:
    """Return what doctor says, by check."""
    return {check["check"]: check["detail"] for check in run("doctor", "--json").json}


@pytest.fixture(autouse=True)
def _set_up(run: Run, request: pytest.FixtureRequest) -> None:
    run("orgs", "list")  # the first command makes what is missing in the instance folder
    if request.node.name != "test_a_schema_that_is_behind":
        request.getfixturevalue("migrated")


@pytest.fixture
def journal(settings: Settings, in_core: None) -> Path:
    return settings.instance_path / JOURNAL_FILE


def test_a_healthy_server_has_nothing_wrong(run: Run) -> None:
    ran = run("doctor")
    assert ran.code == 0, ran.stdout
    assert all(line.startswith("ok  ") for line in ran.stdout.splitlines())
    assert bad(run) == {}


def test_wrong_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSHU_PORT", "0")
    assert "MUSHU_PORT" in bad(run)["settings"]


def test_an_instance_that_was_never_set_up(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(tmp_path / "new"))
    assert "script/up" in bad(run)["instance"]
    assert not (tmp_path / "new").exists(), "looking changes nothing"


def test_secrets_that_others_can_read(run: Run, settings: Settings) -> None:
    (settings.instance_path / "secret_key").chmod(0o644)
    assert f"chmod go= {settings.instance_path / 'secret_key'}" in bad(run)["permissions"]


def test_an_address_that_others_reach_without_tls(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSHU_HOST", "0.0.0.0")
    assert "MUSHU_PUBLIC_URL" in bad(run)["address"]
    monkeypatch.setenv("MUSHU_PUBLIC_URL", "https://keys.example.com")
    assert bad(run) == {}


@pytest.mark.fault
def test_one_for_links_that_is_http_although_the_server_listens_on_loopback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy stands in front: passwords come to it in the clear."""
    monkeypatch.setenv("MUSHU_PUBLIC_URL", "http://keys.example.com")
    assert "over plain http" in bad(run)["address"]
    monkeypatch.setenv("MUSHU_PUBLIC_URL", "http://127.0.0.2:8000")
    assert bad(run) == {}


def test_too_little_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.operation.machine_checks._ENOUGH_DISK", 1 << 60)
    assert "make room" in bad(run)["disk"]


def test_a_plugin_that_cannot_be_loaded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"
        value = "nosuch:Thing"

        @staticmethod
        def load() -> None:
            raise ModuleNotFoundError("No module named 'nosuch'")

    monkeypatch.setattr("mushu.server.operation.machine_checks.entry_points", lambda group: [Broken])
    assert "nosuch" in bad(run)["destination broken:"]


@pytest.mark.usefixtures("in_core")
def test_a_schema_that_is_behind(run: Run) -> None:
    with writing(db.session):
        head = db.session.scalar(text("SELECT version_num FROM alembic_version"))
        db.session.execute(text("DELETE FROM alembic_version"))
    try:
        assert "flask database upgrade" in bad(run)["schema"]
    finally:
        with writing(db.session):
            db.session.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})


@pytest.mark.fault
@pytest.mark.sqlite
def test_a_damaged_database(run: Run, settings: Settings) -> None:
    path = settings.instance_path / "mushu.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    path.write_bytes(content)
    found = bad(run)
    assert "database" in found or "integrity" in found or "schema" in found
    refused = run("policies", "list")
    assert (refused.code, "It is damaged: `flask doctor` looks at it" in refused.stderr) == (1, True)


class TestConnections:
    def test_slow_ones_are_ended_and_floods_are_for_the_proxy(self, run: Run) -> None:
        assert "floods must be stopped in front" in told(run)["connections"]

    @pytest.mark.fault
    def test_a_process_that_may_open_few_files(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mushu.server.operation.machine_checks.resource.getrlimit", lambda _: (256, 1_024))
        assert "may open 1024 files" in bad(run)["connections"]
        assert "LimitNOFILE" in bad(run)["connections"]
        for enough in (1_536, resource.RLIM_INFINITY):
            monkeypatch.setattr(
                "mushu.server.operation.machine_checks.resource.getrlimit", lambda _, limit=enough: (256, limit)
            )
            assert bad(run) == {}

    @pytest.mark.fault
    def test_a_system_that_does_not_tell_what_is_taken(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mushu.server.operation.machine_checks.STALLED_CONNECTIONS_SEEN", False)
        assert "a proxy in front that buffers" in bad(run)["connections"]


@pytest.mark.postgresql
class TestConnectionsToTheDatabase:
    def test_those_of_the_workers_are_told(self, run: Run) -> None:
        assert "may open 44 (44 each)" in told(run)["database connections"]

    @pytest.mark.fault
    def test_more_workers_than_the_server_takes(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MUSHU_WORKERS", "30")
        found = bad(run)["database connections"]
        assert "MUSHU_WORKERS=30 may open 1320 (44 each)" in found
        assert "Raise its max_connections, or lower MUSHU_WORKERS, MUSHU_BODIES or MUSHU_TRANSFERS" in found

    @pytest.mark.fault
    @pytest.mark.usefixtures("in_core")
    def test_a_limit_of_the_database_counts_too_and_fewer_bodies_fit(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with db.engine.connect() as connection:
            name = connection.scalar(text("SELECT current_database()"))
        _limit(name, 44)
        try:
            assert "the database has 44" in bad(run)["database connections"]
            monkeypatch.setenv("MUSHU_BODIES", "15")
            assert bad(run) == {}
        finally:
            _limit(name, -1)


@pytest.mark.sqlite
def test_a_database_that_is_a_file_has_no_connections_to_count(run: Run) -> None:
    assert "database connections" not in told(run)


def _limit(database: str, count: int) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database} CONNECTION LIMIT {count}"))


@pytest.mark.usefixtures("in_core")
def test_unfinished_deliveries(run: Run, acme: str) -> None:
    made = run("keys", "create", "--org", "acme", "--name", "k", "--show-once").json
    with writing(db.session):
        db.session.execute(text("UPDATE api_keys SET state = 'pending' WHERE id = :id"), {"id": made["key_id"]})
    assert "flask keys reconcile" in bad(run)["deliveries"]


class TestTheJournalOfRevokedKeys:
    def test_one_that_is_not_there_yet_is_no_fault_and_is_not_made(self, run: Run, journal: Path) -> None:
        assert bad(run) == {}
        assert not journal.exists()

    def test_one_that_is_followed_is_no_fault(self, run: Run, journal: Path, acme: str) -> None:
        made = run("keys", "create", "--org", acme, "--name", "k", "--show-once").json
        run("keys", "delete", made["key_id"], "--yes")
        assert journal.stat().st_size > 0
        assert bad(run) == {}

    @pytest.mark.parametrize("what", ["folder", "link"])
    def test_one_that_cannot_be_written_is(self, run: Run, journal: Path, tmp_path: Path, what: str) -> None:
        if what == "folder":
            journal.mkdir()
        else:
            (tmp_path / "elsewhere").touch()
            journal.symlink_to(tmp_path / "elsewhere")
        found = bad(run)
        assert list(found) == ["journal"]
        assert f"{journal}, which tells of revoked keys, cannot be written" in found["journal"]

    def test_a_folder_that_takes_no_journal_is(self, run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != journal.parent and access(path, mode))
        assert f"{journal.parent} takes no new file" in bad(run)["journal"]

    def test_one_that_says_more_than_the_database_knows_is_until_it_was_followed(
        self, run: Run, journal: Path, acme: str
    ) -> None:
        key_id = run("keys", "create", "--org", acme, "--name", "k", "--to", "env:.env").json["key_id"]
        journal.write_text(f"{_digest_of(key_id)}\n")
        assert "flask keys reconcile" in bad(run)["journal"]
        assert [row["result"] for row in run("keys", "reconcile", "--json").json] == ["revoked", "cleaned_up"]
        assert bad(run) == {}


@pytest.mark.usefixtures("in_core")
class TestRotations:
    def test_one_that_is_waited_for_is_no_fault(self, run: Run, acme: str) -> None:
        _rotated(run, acme)
        assert bad(run) == {}

    def test_one_that_has_stalled_is_told_with_who_uses_the_old_key(self, run: Run, acme: str) -> None:
        old, new = _rotated(run, acme)
        with writing(db.session):
            db.session.execute(text("UPDATE rotations SET handed_over_at = '2020-01-15 10:30:00+00:00'"))
        assert bad(run) == {
            "rotations": f"{old} (backend): {new} took over 2020-01-15T10:30:00Z and was not used since; it was never "
            f"used. Let its user load the new key, or end the old one with `flask keys delete {old}`."
        }
        use_key(old, datetime(2026, 1, 15, 10, 30, tzinfo=UTC))
        assert "it was last used 2026-01-15T10:30:00Z from 192.0.2.7" in bad(run)["rotations"]
        assert run("keys", "delete", old, "--yes").code == 0
        assert bad(run) == {}

    @pytest.mark.fault
    @pytest.mark.sqlite
    def test_one_that_has_stalled_keeps_nothing_from_being_told_where_usage_cannot_be_read(
        self, run: Run, acme: str, settings: Settings
    ) -> None:
        """The whole command ended with the advice to run it."""
        _rotated(run, acme)
        with writing(db.session):
            db.session.execute(text("UPDATE rotations SET handed_over_at = '2020-01-15 10:30:00+00:00'"))
        usage = settings.instance_path / "mushu-usage.sqlite3"
        for file in usage.parent.glob(f"{usage.name}*"):
            file.unlink()
        usage.write_bytes(b"no database" * 1_000)
        usage.chmod(0o600)
        found = bad(run)
        assert found.keys() == {"usage", "rotations"}
        assert found["rotations"].startswith("could not be looked at: The usage of keys cannot be read.")


def _rotated(run: Run, org: str) -> tuple[str, str]:
    """Rotate a key that nobody uses; return its id, and its successor's."""
    old = run("keys", "create", "--org", org, "--name", "backend", "--to", "env:.env").json["key_id"]
    return old, run("keys", "rotate", old).json["key_id"]


def _digest_of(key_id: str) -> str:
    with reading(db.session):
        return str(db.session.scalar(text("SELECT digest FROM api_keys WHERE id = :id"), {"id": key_id}))


@pytest.mark.fault
def test_a_setting_that_is_gone_is_named_with_what_stands_in_its_place(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("MUSHU_TRUSTED_PROXIES", "1")
        detail = bad(run)["settings"]
        assert "MUSHU_TRUSTED_PROXIES" in detail
        assert "MUSHU_CLIENT_ADDRESS_HEADER" in detail
    (settings.instance_path / "settings.toml").write_text("trusted_proxies = 1\n")
    assert "MUSHU_CLIENT_ADDRESS_HEADER" in bad(run)["settings"]


def test_where_the_address_of_clients_comes_from_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MUSHU_CLIENT_ADDRESS_HEADER" in told(run)["client address"]
    monkeypatch.setenv("MUSHU_CLIENT_ADDRESS_HEADER", "Mushuclientip")
    assert "only the proxy may reach" in told(run)["client address"]
    monkeypatch.setenv("MUSHU_HOST", "0.0.0.0")
    assert "0.0.0.0" in told(run)["client address"]


@pytest.mark.sqlite
def test_usage_that_cannot_be_read_is_told_and_closes_no_door_of_keys(run: Run, acme: str, settings: Settings) -> None:
    key_id = run("keys", "create", "--name", "k", "--show-once").json["key_id"]
    (settings.instance_path / "mushu-usage.sqlite3").write_bytes(b"no database" * 1_000)
    (settings.instance_path / "mushu-usage.sqlite3").chmod(0o600)
    assert bad(run) == {
        "usage": "it cannot be read (file is not a database). Stop the server, move the file *-usage.sqlite3 away with "
        "its -wal and -shm, and start it: counting begins anew."
    }
    ran = run("keys", "list")
    assert (ran.code, "`flask doctor` says what to do" in ran.stderr) == (1, True)
    assert run("keys", "rotate", key_id, "--show-once").code == 0
