"""`flask doctor`: each fault is found, and the way to mend it is named."""

from pathlib import Path

import pytest
from sqlalchemy import text

from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.db import writing
from tests.server.commands.conftest import Run


def bad(run: Run) -> dict[str, str]:
    """Return what doctor finds wrong, by check."""
    ran = run("doctor", "--json")
    found = {check["check"]: check["detail"] for check in ran.json if not check["ok"]}
    assert ran.code == (1 if found else 0)
    return found


@pytest.fixture(autouse=True)
def _set_up(run: Run) -> None:
    run("orgs", "list")  # the first command makes what is missing in the instance folder


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


def test_too_little_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.diagnosis._ENOUGH_DISK", 1 << 60)
    assert "make room" in bad(run)["disk"]


def test_a_plugin_that_cannot_be_loaded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"
        value = "nosuch:Thing"

        @staticmethod
        def load() -> None:
            raise ModuleNotFoundError("No module named 'nosuch'")

    monkeypatch.setattr("mushu.server.diagnosis.entry_points", lambda group: [Broken])
    assert "nosuch" in bad(run)["destination broken:"]


@pytest.mark.usefixtures("in_core")
def test_a_schema_that_is_behind(run: Run) -> None:
    with writing(db.session):
        db.session.execute(text("DELETE FROM alembic_version"))
    try:
        assert "flask db upgrade" in bad(run)["schema"]
    finally:
        with writing(db.session):
            db.session.execute(text("INSERT INTO alembic_version VALUES ('0001')"))


@pytest.mark.sqlite
def test_a_damaged_database(run: Run, settings: Settings) -> None:
    path = settings.instance_path / "mushu.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    path.write_bytes(content)
    found = bad(run)
    assert "database" in found or "integrity" in found or "schema" in found


@pytest.mark.usefixtures("in_core")
def test_unfinished_deliveries(run: Run, acme: str) -> None:
    made = run("keys", "create", "--org", "acme", "--name", "k", "--show-once").json
    with writing(db.session):
        db.session.execute(text("UPDATE api_keys SET state = 'pending' WHERE id = :id"), {"id": made["key_id"]})
    assert "flask keys reconcile" in bad(run)["deliveries"]
