"""No side door out of the server: debuggers, logs of SQL, core dumps."""

import logging
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from mushu import process
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.secret import Secret
from mushu.server import logs
from mushu.server.app import create_app
from mushu.server.commands import common
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.errors import ConfigurationError
from mushu.testing.processes import fork, wait_for
from tests.long import times
from tests.server.conftest import World, bearer

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).resolve().parents[2]


def test_an_app_in_debug_mode_is_refused(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error pages show local variables, keys among them, and offer a shell."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(ConfigurationError, match="does not run in debug mode"):
        create_app(core)


@pytest.mark.parametrize(
    "options", [["run", "--debugger"], ["--debug", "run"], ["run", "--debug"]][: times(1, 3)], ids=" ".join
)
def test_flask_run_offers_no_debugger(settings: Settings, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", *options, "--port", "0"],
        env={**os.environ, "MUSHU_INSTANCE_PATH": str(settings.instance_path), "FLASK_SKIP_DOTENV": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Mushu does not run in debug mode: an error would show keys in the browser. Unset FLASK_DEBUG" in last


def test_the_process_is_hardened_before_the_app_is_made(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached(Exception):
        pass

    def harden() -> None:
        raise Reached

    monkeypatch.setattr(process, "harden", harden)
    with pytest.raises(Reached):
        create_app(core)


def test_a_process_with_an_app_in_it_leaves_no_core(core: Core) -> None:
    def work() -> int:
        create_app(core)
        return int(resource.getrlimit(resource.RLIMIT_CORE) != (0, 0))

    assert wait_for(fork(work)) == 0


def _everything(world: World, client: FlaskClient) -> list[str]:
    """Issue one of each credential, use them, and return their plaintexts."""
    user = world.user("ada@example.com", with_password=True)
    org = world.org(user)
    _, key = world.key(org)
    token = world.token(user)
    login = client.post("/auth/login", json={"email": user.email, "password": world.password})
    made = client.post(f"/orgs/{org.id}/api-keys", json={"name": "k"}, headers=bearer(token))
    assert client.get("/orgs", headers={"X-API-Key": key}).status_code == 200
    assert (login.status_code, made.status_code) == (200, 200)
    return [key, token, world.password, login.json["access_token"], made.json["key"]]  # type: ignore[index]


@pytest.mark.parametrize("echo", [None, "debug"])
def test_no_log_of_sql_shows_a_credential_or_a_password(
    app: Flask, world: World, client: FlaskClient, caplog: pytest.LogCaptureFixture, echo: str | None
) -> None:
    """At the server's lowest level there is none; asked for all the same, it has the digests, and no mask is needed."""
    root, sql = logging.getLogger(), logging.getLogger("sqlalchemy.engine")
    kept = root.handlers[:], root.level
    logs.configure("debug")
    root.handlers = [*kept[0], caplog.handler]
    if echo is not None:
        sql.setLevel(echo.upper())
    try:
        secrets = _everything(world, client)
    finally:
        root.handlers, root.level = kept
        sql.setLevel(logging.NOTSET)
    assert ("INSERT INTO api_keys" in caplog.text) == (echo is not None)
    assert not [secret for secret in secrets if secret in caplog.text]
    assert CREDENTIAL_PATTERN.search(caplog.text) is None


@pytest.mark.sqlite
def test_a_trace_of_what_reaches_sqlite_shows_digests_only(app: Flask, world: World, client: FlaskClient) -> None:
    traced: list[str] = []

    def trace(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(traced.append)

    db.engine.dispose()
    event.listen(db.engine, "connect", trace)
    secrets = _everything(world, client)
    statements = "\n".join(traced)
    assert not [secret for secret in secrets if secret in statements]
    assert Secret(secrets[0]).digest() in statements


def test_a_command_of_an_operator_hardens_its_process_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def no_core(_load: object) -> None:
        order.append("core")
        raise ConfigurationError("enough")

    monkeypatch.setattr(process, "harden", lambda: order.append("hardened"))
    monkeypatch.setattr(common, "core_context", no_core)
    group = common.AdminGroup("keys", commands={"list": click.Command("list", callback=lambda: None)})
    assert CliRunner().invoke(group, ["list"]).exit_code == 1
    assert order == ["hardened", "core"]
