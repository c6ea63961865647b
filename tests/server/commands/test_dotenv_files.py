"""What Flask's own script read from dotenv files is taken back before a command begins, or ends it."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from mushu.server.commands import dotenv_files
from mushu.server.commands.common import CorelessCommand
from tests.ran import Ran

Flask = Callable[..., Ran]


both = pytest.mark.parametrize("told", [True, False], ids=["the system tells", "the system does not tell"])


@pytest.fixture
def told() -> bool:
    """Whether the operating system tells what environment this process began with: that of now."""
    return True


@pytest.fixture
def flask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool) -> Iterator[Flask]:
    """Run `flask … show` in a folder with dotenv files; it prints the names of the variables that are new."""
    kept, environ = dict(os.environ), tmp_path / "environ"
    if told:
        environ.write_bytes(b"".join(os.fsencode(f"{name}={value}\0") for name, value in kept.items()))
    monkeypatch.setattr(dotenv_files, "_AS_IT_BEGAN", environ)

    @click.command("show", cls=CorelessCommand)
    def show() -> None:
        click.echo(" ".join(sorted(os.environ.keys() - kept.keys() - {"FLASK_RUN_FROM_CLI"})))

    def run(*options: str) -> Ran:
        group = FlaskGroup(name="flask")
        group.add_command(show)
        result = CliRunner().invoke(group, [*options, "show"], prog_name="flask")
        return Ran(result.exit_code, result.stdout, result.stderr)

    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    yield run
    os.environ.clear()
    os.environ.update(kept)


@both
@pytest.mark.fault
@pytest.mark.parametrize(
    "name", ["MUSHU_PORT", "MUSHU_SMTP_URL", "MUSHU_INSTANCE_PATH", "MUSHU_VAULT_TOKEN", "MUSHU_ENV_TIMEOUT"]
)
@pytest.mark.parametrize("file", [".env", ".flaskenv", "../.env"])
def test_a_setting_of_the_server_or_of_a_destination_ends_it(flask: Flask, name: str, file: str) -> None:
    Path(file).write_text(f"APP_COLOUR=blue\nexport {name}='evil'\n")
    ran = flask()
    assert (ran.code, ran.stdout) == (1, "")
    assert f"{Path(file).resolve()} would set {name}, and" in ran.stderr.replace("\n", " ")
    assert "evil" not in ran.stderr
    assert name not in os.environ


@both
@pytest.mark.fault
def test_a_value_made_of_others_and_a_file_that_says_it_was_left_out_end_it_too(flask: Flask) -> None:
    Path(".env").write_text("MUSHU_SMTP_URL=smtp://${LATER}\nLATER=evil\nFLASK_SKIP_DOTENV=1\n")
    assert (flask().code, "MUSHU_SMTP_URL" in os.environ) == (1, False)


@pytest.mark.fault
@pytest.mark.parametrize("how", ["-e", "FLASK_ENV_FILE"])
@pytest.mark.parametrize("skipped", [True, False])
def test_a_file_that_is_named_is_one_of_them(
    flask: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, skipped: bool
) -> None:
    (tmp_path / "named").write_text("MUSHU_SMTP_URL=evil\n")
    if skipped:
        monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    if how == "FLASK_ENV_FILE":
        monkeypatch.setenv("FLASK_ENV_FILE", str(tmp_path / "named"))
    ran = flask(*(["-e", str(tmp_path / "named")] if how == "-e" else []))
    assert (ran.code, "A dotenv file would set MUSHU_SMTP_URL" in ran.stderr) == (1, True)


@both
@pytest.mark.fault
def test_what_clients_and_apps_read_ends_nothing_and_is_gone(flask: Flask) -> None:
    Path(".env").write_text(
        "MUSHU_API_KEY=msk\nMUSHU_URL=http://x\nMUSHU_OWN=1\nDATABASE_URL=x\nVAULT_ADDR=x\nA=${B}\n"
    )
    Path(".flaskenv").write_text("FLASK_APP=x\nFLASK_KEYS_CREATE_URIS=env:x\nPATH=/evil\n")
    path = os.environ["PATH"]
    ran = flask()
    assert (ran.code, ran.stdout) == (0, "\n"), ran.stderr
    assert os.environ["PATH"] == path


@pytest.mark.fault
def test_a_file_that_was_changed_after_flask_read_it_ends_it_all_the_same(
    flask: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text("MUSHU_SMTP_URL=evil\n")
    monkeypatch.setattr(dotenv_files, "_found", list)
    ran = flask()
    assert (ran.code, "A dotenv file would set MUSHU_SMTP_URL" in ran.stderr) == (1, True)


@pytest.mark.fault
@pytest.mark.parametrize("told", [False])
def test_where_the_system_tells_nothing_what_cannot_be_read_again_is_refused(flask: Flask, tmp_path: Path) -> None:
    (tmp_path / "named").write_text("APP_COLOUR=blue\n")
    ran = flask("-e", str(tmp_path / "named"))
    assert (ran.code, "Use `mushu-server`" in ran.stderr) == (1, True)
    os.mkfifo(".env")
    writer = threading.Thread(target=Path(".env").write_text, args=("APP_COLOUR=red\n",), daemon=True)
    writer.start()
    ran = flask()
    writer.join()
    assert (ran.code, "Use `mushu-server`" in ran.stderr) == (1, True)


def test_what_the_operator_says_is_not_what_a_file_says(
    flask: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text("HOME=/evil\n")
    assert flask().code == 0
    assert os.environ["HOME"] != "/evil"


@both
def test_files_that_were_left_out_are_not_looked_at(flask: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MUSHU_SMTP_URL=evil\n")
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    assert flask().code == 0
