"""The first run, in this process: each step looks before it acts."""

import logging
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values
from flask import Flask
from granian.server import mp

from mushu.server import up
from mushu.server.app import create_app
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.db import reading, writing
from mushu.server.errors import ConfigurationError, DestinationHeld
from mushu.server.operation import first_run, serving
from mushu.server.operation.serving import MOST_CONNECTIONS, room_for_connections
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from mushu.server.orgs.service import list_orgs
from mushu.server.paging import Window
from mushu.server.users.service import list_users, set_password
from tests.conftest import TurnableClock
from tests.server.conftest import CHEAP_ARGON2, World


def prepare(core: Core) -> str:
    return "\n".join(first_run.prepare(core))


def key(core: Core) -> str:
    return dotenv_values(core.settings.instance_path / first_run.KEY_FILE)["MUSHU_API_KEY"] or ""


def test_an_empty_database_gets_an_owner_an_organization_and_a_key(app: Flask, core: Core) -> None:
    said = prepare(core)
    with reading(db.session):
        (org,), (user,) = list_orgs(db.session, Window()).rows, list_users(db.session, Window()).rows
    assert (org.name, org.created_by, user.email) == ("default", user.id, "owner@localhost")
    assert key(core).startswith("msk_live_")
    assert key(core) not in said
    assert "/password/mpl_" in said
    assert "http://127.0.0.1:8000" in said


def test_a_second_run_changes_nothing_and_points_to_the_link(app: Flask, core: Core) -> None:
    prepare(core)
    first = key(core)
    said = prepare(core)
    assert key(core) == first
    assert "first key" not in said
    assert "mpl_" not in said
    assert "flask users set-password owner@localhost" in said


def test_a_link_that_is_over_is_replaced_and_none_is_made_for_who_has_a_password(
    app: Flask, core: Core, world: World, clock: TurnableClock
) -> None:
    prepare(core)
    clock.turn(days=4)
    assert "/password/mpl_" in prepare(core)
    with writing(db.session):
        (owner,) = list_users(db.session, Window()).rows
        set_password(db.session, clock, SYSTEM, owner, "hash")
    assert "owner" not in prepare(core)


def test_a_database_that_was_set_up_by_hand_gets_nothing(app: Flask, core: Core, world: World) -> None:
    world.org(name="acme")
    assert [line.split()[0] for line in prepare(core).splitlines()] == ["client", "address"]
    assert not (core.settings.instance_path / first_run.KEY_FILE).exists()


def test_a_file_that_holds_something_else_stops_it_and_the_next_run_goes_on(app: Flask, core: Core) -> None:
    file = core.settings.instance_path / first_run.KEY_FILE
    file.write_text("MUSHU_API_KEY=precious\n")
    file.chmod(0o600)
    with pytest.raises(DestinationHeld):
        prepare(core)
    assert file.read_text() == "MUSHU_API_KEY=precious\n"
    file.unlink()
    assert "first key" in prepare(core)
    with reading(db.session):
        assert len(list_users(db.session, Window()).rows) == 1


@pytest.mark.sqlite
def test_preparing_runs_in_a_child_whose_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(instance_path=tmp_path / "instance")
    assert up._in_child(settings) == 0
    assert "first key" in capfd.readouterr().out
    (settings.instance_path / first_run.KEY_FILE).unlink()
    (settings.instance_path / "mushu.sqlite3").unlink()
    (settings.instance_path / first_run.KEY_FILE).mkdir()
    assert up._in_child(settings) == 1
    assert "script/up: " in capfd.readouterr().err
    assert up._in_child(settings, program="mushu-server up") == 1
    assert capfd.readouterr().err.startswith("mushu-server up: ")

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "prepare", interrupted)
    assert up._in_child(settings) == 130
    monkeypatch.setattr(up, "prepare", lambda *_: 1 / 0)
    assert up._in_child(settings) == 1


@pytest.mark.sqlite
def test_up_serves_only_what_could_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(tmp_path / "instance"))
    monkeypatch.setenv("MUSHU_HOST", "127.0.0.1")
    monkeypatch.setenv("MUSHU_WORKERS", "1")
    monkeypatch.setattr(up, "serve", lambda settings, load: served.append(settings))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        monkeypatch.setattr("sys.argv", ["up", "--port", port])
        with pytest.raises(SystemExit, match="cannot be listened on"):
            up.main()
    monkeypatch.setattr("sys.argv", ["up", "--port", port, "--workers", "2"])
    monkeypatch.setattr(up, "_in_child", lambda *_: 3)
    with pytest.raises(SystemExit) as stopped:
        up.main()
    assert stopped.value.code == 3
    assert served == []
    asked: list[object] = []

    def in_child(settings: Settings, upgrade: object, program: object) -> int:
        settings.instance_path.mkdir(mode=0o700, exist_ok=True)  # as the preparation does
        asked.append((upgrade, program))
        return 0

    monkeypatch.setattr(up, "_in_child", in_child)
    up.main()
    monkeypatch.setattr("sys.argv", ["up", "--port", port, "--workers", "2", "--no-copy"])
    up.main()
    assert asked == [(upgrade_with_copy, "script/up"), (upgrade_without_copy, "script/up")]
    assert (served[0].workers, str(served[0].port)) == (2, port)

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "_in_child", interrupted)
    with pytest.raises(SystemExit) as stopped:
        up.main()
    assert stopped.value.code == 130


def test_that_there_are_more_threads_than_cores_is_no_warning() -> None:
    def is_told(message: str) -> bool:
        return serving.IntendedThreads().filter(logging.makeLogRecord({"msg": message}))

    assert not is_told("Configuration allows spawning up to 10 Python threads, which seems quite high")
    assert is_told("Starting granian (main PID: 1)")


def test_serving_hands_the_settings_to_granian(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    class Granian:
        def __init__(self, target: str, **options: object) -> None:
            given.update(options, target=target)

        def serve(self, **options: object) -> None:
            given.update(options)

    for known in (True, False):
        monkeypatch.setattr("granian.Granian", type("Granian", (Granian, mp.MPServer) if known else (Granian,), {}))
        asked = replace(settings, host="localhost", port=18_000, workers=3, threads=4)
        serving.serve(asked, create_app)
        assert given["target_loader"].args[-2:] == (create_app, asked if known else None)  # type: ignore[attr-defined]
        threads = asked.body_threads + (1 if known else 4 + asked.transfers)
        assert (given["workers"], given["blocking_threads"]) == (3, threads)
    assert (given["http"], given["backlog"], given["backpressure"]) == ("1", MOST_CONNECTIONS, room_for_connections())
    assert given["http1_settings"].header_read_timeout == settings.idle_seconds * 1_000  # type: ignore[attr-defined]
    assert given["address"] in ("127.0.0.1", "::1")
    with pytest.raises(ConfigurationError):
        serving.bindable_address(replace(settings, host="nosuch.invalid"))


@pytest.mark.fault
@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["a?b", "a#b", "a%b", "a%41b", "a b&c=d", "ä:\\;", "?uri=true", "a\udcff"])
def test_the_folder_of_an_instance_may_have_any_name(tmp_path: Path, name: str, clock: TurnableClock) -> None:
    instance = tmp_path / name / "instance"
    (tmp_path / name).mkdir()
    settings = replace(Settings.load({"MUSHU_INSTANCE_PATH": str(instance)}), **CHEAP_ARGON2)
    assert up.prepare(settings) == 0
    with core_context(lambda: settings) as core:
        assert key(core).startswith("msk_live_")
        assert first_run.prepare(core)
        with reading(db.session):
            assert len(list_orgs(db.session, Window()).rows) == 1
    assert {path.stat().st_mode & 0o777 for path in instance.iterdir() if path.is_file()} == {0o600}
    assert (instance / "mushu.sqlite3").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
