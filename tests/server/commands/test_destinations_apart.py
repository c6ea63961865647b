"""`flask destinations … --env`: a place belongs to live or to test."""

from pathlib import Path

import pytest

from tests.server.commands.conftest import Run
from tests.server.commands.naming import add, listed

pytestmark = [pytest.mark.usefixtures("acme"), pytest.mark.fault]


def create(run: Run, env: str, uri: str, *options: str) -> tuple[int, str]:
    ran = run("keys", "create", "--org", "acme", "--name", "k", "--env", env, "--to", uri, *options)
    return ran.code, ran.stderr


def test_one_name_stands_for_a_place_of_each(run: Run) -> None:
    add(run, "backend", "env:live.env")
    assert add(run, "backend", "env:test.env", "--env", "test").json["environment"] == "test"
    assert [(row["name"], row["environment"]) for row in listed(run)] == [("backend", "live"), ("backend", "test")]


@pytest.mark.parametrize("command", ["set", "check", "remove"])
def test_a_name_is_looked_for_among_live_ones_unless_told_otherwise(run: Run, command: str) -> None:
    add(run, "backend", "env:.env", "--env", "test")
    options = ["--yes"] if command == "remove" else []
    ran = run("destinations", command, "backend", "--org", "acme", *options)
    assert ran.code == 1
    assert "no live destination 'backend' in this organization. There is a test one: --env test." in ran.stderr
    assert run("destinations", command, "backend", "--org", "acme", "--env", "test", *options).code == 0


def test_a_key_of_the_other_environment_in_a_place_is_a_fault_that_check_tells(run: Run, tmp_path: Path) -> None:
    add(run, "backend", "env:a.env#MUSHU_API_KEY")
    create(run, "test", "env:b.env")
    (tmp_path / "a.env").write_bytes((tmp_path / "b.env").read_bytes())  # by hand
    (tmp_path / "a.env").chmod(0o600)
    ran = run("destinations", "check", "backend", "--org", "acme")
    assert ran.code == 3
    assert "a test key" in ran.json["faults"][0]


def test_the_ledger_of_a_test_key_names_its_destination(run: Run) -> None:
    add(run, "backend", "env:.env", "--env", "test")
    key_id = run("keys", "create", "--org", "acme", "--name", "k", "--env", "test", "--to", "env:.env").json["key_id"]
    (line,) = run("keys", "deliveries", key_id, "--json").json
    assert line["destination"] == "backend"


def test_a_link_to_a_file_of_production_is_no_way_round(run: Run, tmp_path: Path) -> None:
    assert create(run, "live", "env:.env")[0] == 0
    before = (tmp_path / ".env").read_bytes()
    (tmp_path / "test.env").symlink_to(tmp_path / ".env")
    add(run, "backend", "env:test.env", "--env", "test")
    code, said = create(run, "test", "env:test.env", "--force")
    assert (code, (tmp_path / ".env").read_bytes()) == (1, before)
    assert "a live key" in said
