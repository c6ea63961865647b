"""Each request is one line, with nothing secret in it; a log that cannot be written costs no request."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask

from mushu.server import logs
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.db import writing
from mushu.server.errors import ConfigurationError
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.logs import LogFile, StandardError
from mushu.server.web import access_log
from mushu.server.web.access_log import Access, AccessLog, access_log_of, install
from mushu.server.web.application import ApiApp
from mushu.server.web.body_slots import Slots
from tests.conftest import TurnableClock
from tests.server.conftest import World, bearer, quiet_app
from tests.server.web.asking import SeparateClient


def access(principal: str) -> Access:
    return 1768473000.25, "r" * 32, "GET", "/orgs/<string:org_id>/x", "200 OK", 0.0123, "7", principal, "::1"


ONE: Final = access("key_a")


@pytest.fixture
def logged(settings: Settings, clock: TurnableClock, tmp_path: Path) -> Iterator[tuple[Flask, World, Path]]:
    """An application that logs all requests, a world, and the file."""
    file = tmp_path / "access.log"
    core = Core(replace(settings, access_log="all", access_log_file=str(file)), clock)
    app = quiet_app(core)
    app.testing = False
    with app.app_context():
        yield app, World(clock, core), file
        db.session.remove()
        db.engine.dispose()


def lines_of(app: Flask, file: Path) -> list[dict[str, Any]]:
    access_log_of(app).flush()
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_request_is_a_line_and_no_credential_is_in_it(
    logged: tuple[Flask, World, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, world, file = logged
    client, owner = SeparateClient(app), world.user(with_password=True)
    org = world.org(owner)
    (key, plaintext), token = world.key(org), world.token(owner)
    kept = client.get(f"/orgs/{org.id}", headers={"X-API-Key": plaintext, "X-Request-Id": "proxy-0001"})
    client.head(f"/orgs/{org.id}", headers=bearer(token))
    client.get(f"/sandbox/orgs/{org.id}/api-keys?state={plaintext}", headers=bearer(plaintext))
    client.get(f"/{plaintext}\n{{}}?{token}", headers={"X-Request-Id": f"{plaintext}", "Referer": token})
    client.open(f"/orgs/{token}", method=plaintext, headers={"Authorization": f"ApiKey {plaintext}x"})
    client.post("/api-keys/validate", json={"key": plaintext})
    client.post("/auth/login", json={"email": owner.email, "password": world.password})
    monkeypatch.setattr(Slots, "enter", lambda *_: False)
    client.post("/auth/login", json={"email": plaintext, "password": world.password})
    rows = lines_of(app, file)
    shown = [(row["method"], row["route"], row["status"], row["principal"]) for row in rows]
    assert shown == [
        ("GET", "/orgs/{org_id}", 200, key.id),
        ("HEAD", "/orgs/{org_id}", 200, owner.id),
        ("GET", "/sandbox/orgs/{org_id}/api-keys", 403, key.id),
        ("GET", None, 404, None),
        ("other", None, 405, None),
        ("POST", "/api-keys/validate", 200, key.id),
        ("POST", "/auth/login", 200, None),
        ("POST", None, 503, None),
    ]
    assert (rows[0]["request_id"], rows[0]["bytes"], rows[1]["bytes"]) == ("proxy-0001", len(kept.data), 0)
    assert all(
        row["address"] == "127.0.0.1" and row["milliseconds"] >= 0 and row["at"].endswith("+00:00") for row in rows
    )
    assert file.stat().st_mode & 0o777 == 0o600
    for secret in (plaintext[9:], token[4:], world.password, owner.email):
        assert secret not in file.read_text()


def test_what_is_asked_all_the_time_is_logged_only_where_all_is(settings: Settings, tmp_path: Path) -> None:
    for level, expected in {"off": 0, "api": 1, "all": 4}.items():
        app = ApiApp("small")
        endpoints = ("health.health", "health.ready", "api-key validation.validate_api_key", "orgs.list_orgs")
        for endpoint in endpoints:
            app.add_url_rule(f"/{endpoint}", endpoint, lambda: "ok")
        file = tmp_path / level
        install(app, replace(settings, access_log=level, access_log_file=str(file)))
        assert {app.test_client().get(f"/{endpoint}").status_code for endpoint in endpoints} == {200}
        assert len(lines_of(app, file) if expected else []) == expected
        assert file.exists() == bool(expected)
    with pytest.raises(ConfigurationError, match="Make its folder"):
        install(app, replace(settings, access_log="api", access_log_file=str(tmp_path / "no" / "file")))


def test_an_application_that_fails_is_logged_as_500(tmp_path: Path) -> None:
    def failing(environ: Any, start_response: Any) -> Any:
        raise SystemError

    log = AccessLog(LogFile(tmp_path / "log"), 0)
    with pytest.raises(SystemError):
        access_log.AccessLogged(failing, log, "Mushuclientip", frozenset())(
            {"REQUEST_METHOD": "GET", "HTTP_MUSHUCLIENTIP": '"}\n' + "9" * 5_000},
            lambda *_: None,  # type: ignore[arg-type]
        )
    log.close()
    row = json.loads((tmp_path / "log").read_text())
    assert (row["status"], row["route"], row["bytes"], row["address"]) == (500, None, None, "unknown")


class Full:
    """Takes so many bytes, then none until there is more room."""

    def __init__(self, most: int, room: int) -> None:
        self.most, self.room, self.taken = most, room, b""

    def write(self, text: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        written = text[: self.room]
        self.taken, self.room = self.taken + written, self.room - len(written)
        return len(written)


@pytest.mark.parametrize("most", [1, 4_096])
@pytest.mark.parametrize("room", [0, 1, 300, 700])
def test_a_full_disk_loses_nothing_that_there_is_memory_for(
    most: int, room: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "MOST", 4)
    sink = Full(most, room)
    log = AccessLog(sink, 0)
    for number in range(4):
        log.add(access(f"key_{number}"))
    for _ in range(3):
        log.flush()
    for number in range(4, 9):
        log.add(access(f"key_{number}"))
    assert len(caplog.records) == 1, "said once, not each second"
    sink.room = 1 << 20
    log.flush()
    whole = [line for line in sink.taken.decode().splitlines() if line.endswith("}")]
    rows = [json.loads(line) for line in whole]
    assert [row.get("principal") for row in rows] == [*(f"key_{number}" for number in range(8)), None]
    assert rows[-1]["missing"] == 1


def test_a_file_that_is_moved_is_made_anew_and_one_of_others_is_not_written(tmp_path: Path) -> None:
    path, log = tmp_path / "access.log", AccessLog(LogFile(tmp_path / "access.log"), 0)
    for name in ("access.log.1", "access.log.2"):
        log.add(ONE)
        log.flush()
        path.rename(tmp_path / name)
        assert json.loads((tmp_path / name).read_text())["route"] == "/orgs/{org_id}/x"
    other = tmp_path / "database"
    other.write_text("precious")
    os.mkfifo(tmp_path / "fifo")
    for place in (other.hardlink_to, path.symlink_to):
        path.unlink(missing_ok=True)
        if place == other.hardlink_to:
            path.hardlink_to(other)
        else:
            place(other)
        log.add(ONE)
        log.flush()
    assert other.read_text() == "precious"
    with pytest.raises(OSError, match="No such device"):
        LogFile(tmp_path / "fifo").write(b"x")
    path.unlink()
    log.close()
    log.add(ONE)  # of a request that ends after the worker was told to
    assert len(path.read_text().splitlines()) == 3


def test_a_reader_that_does_not_read_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PATIENCE", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        log = AccessLog(StandardError(), 0)
        for _ in range(2_000):
            log.add(ONE)
        log.flush()
        read = os.read(reader.fileno(), 1 << 20).decode()
        assert read.endswith("}\n")
        assert 0 < len(read.splitlines()) < 2_000
        while len(read.splitlines()) < 2_000:
            log.flush()
            read += os.read(reader.fileno(), 1 << 20).decode()
    monkeypatch.setattr(sys, "stderr", None)
    log.add(ONE)
    log.flush()


def test_what_is_answered_before_flask_is_logged_too(logged: tuple[Flask, World, Path]) -> None:
    app, world, file = logged
    client, org = SeparateClient(app), world.org()
    key, plaintext = world.key(org)
    with writing(db.session):
        add_policy(db.session, world.clock, SYSTEM, PolicyRequest(name="reports", org_id=org.id, scope=Scope.READ))
    good = bearer(plaintext)
    client.get(f"/forward-auth/reports/{plaintext}?x", headers=good | {"X-Request-Id": "proxy-0001"})
    client.post("/forward-auth/reports", headers={"X-API-Key": plaintext[:-1]})
    client.post("/api-keys/verify", json={"key": plaintext}, headers=good)
    client.post("/oauth/introspect", data={"token": plaintext}, headers=good)
    rows = lines_of(app, file)
    assert [(row["method"], row["route"], row["status"], row["principal"]) for row in rows] == [
        ("GET", "/forward-auth/{name}", 200, key.id),
        ("POST", "/forward-auth/{name}", 401, None),
        ("POST", "/api-keys/verify", 200, key.id),
        ("POST", "/oauth/introspect", 200, key.id),
    ]
    assert [row["request_id"] == "proxy-0001" for row in rows] == [True, False, False, False]
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert rows[0]["bytes"] == 0
    assert plaintext[9:-1] not in file.read_text()
