"""What strangers wrote cannot paint on an operator's terminal, whichever way it comes there."""

from pathlib import Path
from typing import Final

import pytest

from mushu.destination import DestinationError
from tests.cli.test_hostile import PAINT
from tests.server.commands.conftest import Run
from tests.server.web.asking import execute

#: As an older version, or a database that somebody wrote to, may hold it.
STORED: Final = PAINT.replace("\x00", "").replace("\ud800", "")

pytestmark = [pytest.mark.usefixtures("acme"), pytest.mark.fault]


def steers(text: str) -> bool:
    return any(not letter.isprintable() and letter != "\n" for letter in text)


def test_stored_names_in_json_and_tables(run: Run, in_core: None) -> None:
    run("keys", "create", "--org", "acme", "--name", "k", "--to", "env:.env")
    (key,) = run("keys", "list", "--org", "acme", "--json").json
    execute("UPDATE api_keys SET name = :name", name=STORED)
    execute("UPDATE users SET name = :name", name=STORED)
    for command in (
        ("keys", "list", "--org", "acme", "--json"),
        ("keys", "list", "--org", "acme"),
        ("keys", "show", key["key_id"]),
        ("users", "list", "--json"),
        ("users", "list"),
    ):
        ran = run(*command)
        assert ran.code == 0
        assert not steers(ran.stdout + ran.stderr), command
    assert run("keys", "show", key["key_id"]).json["name"] == STORED, "it is the same JSON"


def test_stored_names_in_a_refusal(run: Run, in_core: None) -> None:
    run("keys", "create", "--org", "acme", "--name", "k", "--to", "env:.env")
    run("destinations", "add", "backend", "env:.env", "--org", "acme")
    execute("UPDATE api_keys SET name = :name", name=STORED)
    ran = run("destinations", "remove", "backend", "--org", "acme", "--yes")
    assert (ran.code, steers(ran.stdout + ran.stderr)) == (1, False)


def test_what_a_plugin_says(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sentences may repeat what a server answered."""
    key_id = run("keys", "create", "--org", "acme", "--name", "k", "--to", "env:.env").json["key_id"]
    run("destinations", "add", "backend", "env:.env", "--org", "acme")

    def refuse(*_: object) -> None:
        raise DestinationError(PAINT, permanent=False)

    for act in ("read", "remove", "preflight"):
        monkeypatch.setattr(f"mushu_dotenv.DotenvDestination.{act}", refuse)
    for command in (
        ("keys", "check"),
        ("keys", "check", "--json"),
        ("destinations", "check", "backend", "--org", "acme"),
        ("keys", "rotate", key_id),
        ("keys", "delete", key_id, "--yes"),
        ("keys", "reconcile"),
        ("keys", "deliveries", key_id, "--json"),
    ):
        ran = run(*command)
        said = ran.stdout + ran.stderr
        assert "owned" in said, command
        assert not steers(said), command
