"""`mushu-server`: the groups of `flask`, and what an installed Mushu needs besides."""

import gc
import os
import sys
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

from mushu.lazy_group import LazyCommand, loading
from mushu.server import up
from mushu.server.config import Settings
from mushu.server.main import COMMANDS, db, server

pytestmark = [pytest.mark.fault, pytest.mark.sqlite]


def test_it_has_what_flask_has_but_for_one_and_one_more() -> None:
    ours = {found.name for found in entry_points(group="flask.commands") if found.value.startswith("mushu.")}
    assert {*server.commands, "db"} == {*ours, "up"}


@pytest.mark.parametrize("command", [*COMMANDS, db], ids=[command.name for command in (*COMMANDS, db)])
def test_a_group_says_of_itself_what_is_said_of_it_before_it_is_loaded(command: LazyCommand) -> None:
    assert (command.name, command.help) == (command.loaded.name, command.loaded.help)


@pytest.mark.parametrize("text", ["command = None", "import nothing_of_this_name"])
def test_the_collector_works_again_once_a_command_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "loaded_late.py").write_text(f"import gc\nassert not gc.isenabled()\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with nullcontext() if "None" in text else pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        assert LazyCommand("late", "loaded_late:command", "").loaded is None
    assert gc.isenabled()
    sys.modules.pop("loaded_late", None)


def test_what_loads_within_what_loads_does_not_wake_the_collector() -> None:
    with loading():
        with loading():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_up_serves_as_the_script_does(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(up, "main", lambda arguments, program: called.append((arguments, program)))
    ran = CliRunner().invoke(server, ["up", "--port", "8001", "--help"])
    assert (ran.exit_code, called) == (0, [(("--port", "8001", "--help"), "mushu-server up")])


def test_up_names_itself_in_what_it_says(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(settings.instance_path))
    monkeypatch.setenv("MUSHU_PORT", "0")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    with pytest.raises(SystemExit, match="mushu-server up: The settings are wrong"):
        up.main([], program="mushu-server up")


def test_what_multiprocessing_starts_takes_nothing_from_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(settings.instance_path))
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.setattr(up, "_in_child", lambda *_: int(os.environ["PYTHONSAFEPATH"] != "1"))
    monkeypatch.setattr(up, "serve", lambda *_: None)
    monkeypatch.setattr(up, "bindable_address", lambda _: None)
    monkeypatch.setattr("mushu.server.operation.housekeeping.start", lambda _: None)
    up.main([])


def test_database_upgrade_applies_what_the_database_lacks(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(settings.instance_path))
    (settings.instance_path / "mushu.sqlite3").unlink()
    first, second = (CliRunner().invoke(server, ["database", "upgrade"]) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert second.stdout == "The database is up to date.\n"
    assert CliRunner().invoke(server, ["orgs", "list"]).exit_code == 0
