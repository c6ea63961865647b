"""Commands in a folder of somebody else: no code of it runs, and none of its settings holds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mushu.keyformat import Prefix, generate
from mushu.server.main import server as door
from tests.e2e.conftest import ROOT, clean_environment
from tests.long import times
from tests.server.conftest import CHEAP_ARGON2

BIN = Path(sys.executable).parent
#: What Python, Flask and Mushu import, or look for in the current folder.
MODULES = (
    "wsgi", "app", "mushu", "mushu_dotenv", "flask", "click", "dotenv", "sqlalchemy", "alembic", "signal", "threading",
    "multiprocessing", "sitecustomize", "usercustomize", "encodings", "re", "hvac", "env",
)  # fmt: skip
COMMANDS = door.list_commands(None)  # type: ignore[arg-type]

_PREPARE = "import sys; from mushu.server.up import Settings, prepare; sys.exit(prepare(Settings.load()))"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an operator, whose server was set up."""
    home = tmp_path_factory.mktemp("operator")
    cheap = {f"MUSHU_{name.upper()}": str(value) for name, value in CHEAP_ARGON2.items()}
    made = clean_environment(home, MUSHU_INSTANCE_PATH=str(home / "instance"), **cheap)
    made["PATH"] = f"{BIN}:{made['PATH']}"
    subprocess.run([sys.executable, "-P", "-c", _PREPARE], env=made, check=True, capture_output=True)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which everything that could be loaded leaves a mark."""
    hostile = tmp_path / "hostile"
    sprung = f"open({str(hostile / 'sprung')!r}, 'a').write(__name__ + chr(10))\n"
    for name in MODULES:
        (hostile / name).mkdir(parents=True)
        (hostile / name / "__init__.py").write_text(sprung)
    for name in ("wsgi", "app"):
        (hostile / f"{name}.py").write_text(sprung)
    (hostile / "migrations").mkdir()
    (hostile / "migrations" / "env.py").write_text(sprung)
    (hostile / "instance").mkdir(mode=0o700)
    (hostile / "instance" / "settings.toml").write_text('public_url = "https://evil.example"\n')
    (hostile / ".flaskenv").write_text("FLASK_APP=wsgi.py\nMUSHU_SMTP_URL=smtp://evil.example\n")
    (hostile / ".env").write_text(f"MUSHU_INSTANCE_PATH={hostile}/instance\nVAULT_ADDR=https://evil.example\n")
    return hostile


def run(folder: Path, environment: dict[str, str], *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not (folder / "sprung").exists(), (folder / "sprung").read_text()
    return done


@pytest.mark.fault
def test_help_runs_nothing_of_the_folder(folder: Path, environment: dict[str, str]) -> None:
    """Of every command, one after the other in a process that begins as `mushu-server` does: beside its own program."""
    assert "Usage: mushu-server" in run(folder, environment, "mushu-server", "--help").stdout
    program = folder.parent / "every.py"
    program.write_text(
        "from contextlib import suppress\nfrom mushu.server.main import server\n"
        f"for name in {COMMANDS}:\n"
        "    with suppress(SystemExit):\n        server.main([name, '--help'], 'mushu-server')\n"
    )
    done = run(folder, environment, "python", str(program))
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"usage: mushu-server {name}" in done.stdout.lower()


@pytest.mark.fault
@pytest.mark.parametrize("python_path", ["", None][: times(1, 2)])
def test_the_safe_door_works_as_if_the_folder_were_empty(
    folder: Path, environment: dict[str, str], python_path: str | None
) -> None:
    variables = {} if python_path is None else {"PYTHONPATH": python_path}
    target = folder.parent / "target.env"
    create = ("keys", "create", "--org", "default", "--name", "k", "--to", f"env:{target}")
    made = run(folder, environment, "mushu-server", *create, **variables)
    assert made.returncode == 0, made.stderr
    assert "MUSHU_API_KEY=msk_live_" in target.read_text()
    listed = run(folder, environment, "mushu-server", "keys", "list", "--org", "default", **variables)
    assert json.loads(made.stdout)["key_id"] in listed.stdout
    looked = run(folder, environment, "mushu-server", "doctor", **variables)
    assert (looked.returncode, "BAD" in looked.stdout) == (0, False), looked.stdout
    reset = run(folder, environment, "mushu-server", "users", "reset", "owner@localhost", **variables)
    assert json.loads(reset.stdout)["link"].startswith("http://127.0.0.1:8000/password/")
    upgraded = run(folder, environment, "mushu-server", "database", "upgrade", **variables)
    assert upgraded.stdout == "The database is up to date.\n"


@pytest.mark.fault
def test_a_mistyped_command_loads_no_app(folder: Path, environment: dict[str, str]) -> None:
    done = run(folder, environment, "mushu-server", "keyz")
    assert (done.returncode, "No such command" in done.stderr) == (2, True)


@pytest.mark.fault
@pytest.mark.parametrize(
    "command", [["keys", "list", "--org", "default"], ["users", "reset", "owner@localhost"], ["doctor"]]
)
def test_under_flask_a_file_that_sets_up_the_server_stops_a_command(
    folder: Path, environment: dict[str, str], command: list[str]
) -> None:
    done = run(
        folder, {name: value for name, value in environment.items() if name != "MUSHU_INSTANCE_PATH"}, "flask", *command
    )
    assert done.returncode == 1
    assert done.stdout == ""
    for named in (
        str(folder / ".env"),
        str(folder / ".flaskenv"),
        "MUSHU_SMTP_URL",
        "`mushu-server`",
        "FLASK_SKIP_DOTENV=1",
    ):
        assert named in done.stderr
    assert "evil.example" not in done.stderr
    assert list((folder / "instance").iterdir()) == [folder / "instance" / "settings.toml"]


@pytest.mark.fault
def test_the_file_that_mushu_fills_stops_nothing_and_its_key_reaches_no_child(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    for made in (repository / ".git", programs):
        made.mkdir(parents=True)
    (programs / "git").write_text(f"#!/bin/sh\n/usr/bin/env >{tmp_path}/seen\nexit 1\n")
    (programs / "git").chmod(0o700)
    key = generate(Prefix.LIVE_KEY).reveal()
    (repository / ".env").write_text(
        f"MUSHU_API_KEY={key}\nMUSHU_URL=http://x\nAPP_COLOUR=blue\nMUSHU_API_KEY_2={key}\n"
    )
    (repository / ".env").chmod(0o600)
    create = ["keys", "create", "--org", "default", "--name", "k", "--force", "--to", "env:.env"]
    done = run(repository, environment, "flask", *create, PATH=f"{programs}:{environment['PATH']}")
    assert done.returncode == 0, done.stderr
    seen = (tmp_path / "seen").read_text()
    assert "GIT_CONFIG_NOSYSTEM=1" in seen
    assert not re.search(r"msk_|APP_COLOUR|MUSHU_", seen)


@pytest.mark.fault
@pytest.mark.parametrize("where", [".env", "environment"])
def test_no_variable_stands_for_an_option_of_a_command(tmp_path: Path, environment: dict[str, str], where: str) -> None:
    """Flask has Click read one for each: a file could say where a key goes, or that nobody is asked."""
    hidden = {
        "FLASK_KEYS_CREATE_URIS": f"env:{tmp_path}/stolen.env",
        "FLASK_KEYS_CREATE_TO": f"env:{tmp_path}/stolen.env",
    }
    if where == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in hidden.items()))
        hidden = {}
    done = run(tmp_path, environment, "flask", "keys", "create", "--org", "default", "--name", "k", **hidden)
    assert (done.returncode, "Say where the key goes" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "stolen.env").exists()


@pytest.mark.fault
def test_an_app_that_flask_loads_is_not_set_up_by_such_a_file(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / ".env").write_text("MUSHU_SMTP_URL=smtp://evil.example\n")
    done = run(tmp_path, environment, "flask", "--app", str(ROOT / "wsgi.py"), "routes")
    assert (done.returncode != 0, "would set MUSHU_SMTP_URL" in done.stderr) == (True, True), done.stdout
    assert "evil.example" not in done.stderr


def test_flask_works_in_the_checkout_and_elsewhere(tmp_path: Path, environment: dict[str, str]) -> None:
    for place, name in ((ROOT, "first.env"), (tmp_path, "second.env")):
        create = ["keys", "create", "--org", "default", "--name", "k", "--to", f"env:{tmp_path / name}"]
        assert run(place, environment, "flask", *create).returncode == 0
