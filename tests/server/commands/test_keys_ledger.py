"""`flask keys check|deliveries|reconcile`: whether what the ledger says is so, and what can be done where it is not."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from mushu.destination import Denied, Holding
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.keys.service import get_key
from mushu_dotenv import DotenvDestination
from tests.server.commands.conftest import Run
from tests.vault.bao import Address
from tests.vault.server import VaultStub

COLUMNS = ["KEY_ID", "NAME", "DESTINATION", "CONDITION", "DETAIL"]


def created(run: Run, file: str = ".env", org: str = "acme") -> str:
    """Return the id of a new key that was delivered into a file."""
    made = run("keys", "create", "--org", org, "--name", "backend", "--to", f"env:{file}")
    assert made.code == 0, made.stderr
    key_id: str = made.json["key_id"]
    return key_id


def value(path: Path) -> str:
    return dotenv_values(path)["MUSHU_API_KEY"] or ""


def drift(path: Path) -> None:
    path.write_text("MUSHU_API_KEY=theirs\n")


@pytest.mark.usefixtures("acme")
class TestCheck:
    def test_all_is_well(self, run: Run, tmp_path: Path) -> None:
        key_id = created(run)
        ran = run("keys", "check")
        assert ran.code == 0
        assert ran.rows == [COLUMNS, [key_id, "backend", f"env:{tmp_path}/.env#MUSHU_API_KEY", "ok", "-"]]

    def test_where_nothing_was_delivered_there_is_nothing_to_look_at(self, run: Run) -> None:
        run("keys", "create", "--org", "acme", "--name", "k", "--show-once")
        ran = run("keys", "check", "--json")
        assert (ran.code, ran.json) == (0, [])

    def test_each_condition_is_told_with_a_sentence(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = {created(run, f"{name}.env"): name for name in ("ok", "drifted", "missing", "unreachable", "denied")}
        drift(tmp_path / "drifted.env")
        (tmp_path / "missing.env").write_text("OTHER=1\n")
        (tmp_path / "unreachable.env").write_bytes(b"\xff\xfe")
        read = DotenvDestination.read

        def deny(destination: DotenvDestination) -> Holding:
            if "denied.env" in destination.uri:
                raise Denied("It lets nobody look.")
            return read(destination)

        monkeypatch.setattr(DotenvDestination, "read", deny)
        before = {path: path.read_bytes() for path in tmp_path.glob("*.env")}
        ran = run("keys", "check", "--json")
        assert ran.code == 3
        assert {row["key_id"]: row["condition"] for row in ran.json} == expected
        for row in ran.json:
            assert list(row) == ["key_id", "name", "uri", "condition", "detail"]
            assert (row["detail"] is None) == (row["condition"] == "ok")
            if row["condition"] in ("drifted", "missing"):
                assert f"flask keys rotate {row['key_id']}" in row["detail"]
        assert "5 destinations, 4 of them not as they should be." in ran.stderr
        assert CREDENTIAL_PATTERN.search(ran.stdout + ran.stderr) is None
        assert {path: path.read_bytes() for path in tmp_path.glob("*.env")} == before

    def test_one_key_or_one_organization_can_be_asked_for(self, run: Run, tmp_path: Path) -> None:
        run("orgs", "create", "other", "--owner", "ada@example.com")
        here, there = created(run), created(run, "other.env", "other")
        drift(tmp_path / "other.env")
        assert [row["key_id"] for row in run("keys", "check", here, "--json").json] == [here]
        assert run("keys", "check", "--org", "acme").code == 0
        asked = run("keys", "check", "--org", "other", "--json")
        assert (asked.code, [row["key_id"] for row in asked.json]) == (3, [there])
        assert run("keys", "check").code == 3
        assert run("keys", "check", "key_nosuch").code == 1
        assert run("keys", "check", "--org", "nosuch").code == 1

    def test_what_drifted_is_mended_by_a_rotation(self, run: Run, tmp_path: Path) -> None:
        missing, drifted = created(run, "missing.env"), created(run, "drifted.env")
        (tmp_path / "missing.env").write_text("")
        drift(tmp_path / "drifted.env")
        assert run("keys", "check").code == 3
        assert run("keys", "rotate", missing).code == 0
        assert run("keys", "rotate", drifted).code == 1
        assert run("keys", "rotate", drifted, "--force").code == 0
        ran = run("keys", "check", "--json")
        assert (ran.code, [row["condition"] for row in ran.json]) == (0, ["ok", "ok"])

    def test_where_stderr_is_no_terminal_there_is_the_sum_and_no_progress(self, run: Run) -> None:
        created(run)
        assert run("keys", "check").stderr == "1 destinations, 0 of them not as they should be.\n"


@pytest.mark.usefixtures("acme")
class TestDeliveries:
    def test_it_tells_where_a_key_is_since_when_and_what_was_found_there(self, run: Run, tmp_path: Path) -> None:
        key_id = created(run)
        (line,) = run("keys", "deliveries", key_id, "--json").json
        assert (line["uri"], line["state"], line["by"]) == (f"env:{tmp_path}/.env#MUSHU_API_KEY", "verified", "server")
        assert {"version", "started_at", "delivered_at", "verified_at", "delivered_by"} <= set(line)
        assert "checked_at" not in line
        drift(tmp_path / ".env")
        run("keys", "check")
        (line,) = run("keys", "deliveries", key_id, "--json").json
        assert line["condition"] == "drifted"
        assert line["error"] == "Something else is there."
        assert line["checked_at"] >= line["verified_at"]
        (tmp_path / ".env").write_text("")
        run("keys", "rotate", key_id)
        (line,) = run("keys", "deliveries", key_id, "--json").json
        assert line["state"] == "replaced"
        assert "error" not in line

    @pytest.mark.fault
    def test_what_is_odd_about_a_key_that_is_there_is_said_at_once_and_by_each_look(
        self, run: Run, openbao: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Here: the metadata names the key before, because the leave to change it was lost."""
        with VaultStub(openbao) as stub:
            stub.policy("data", {"secret/data/*": ["create", "read", "update"]})
            monkeypatch.setenv("VAULT_ADDR", stub.address)
            monkeypatch.setenv("VAULT_TOKEN", stub.root_token)
            run("destinations", "add", "vault", "vault:secret/a", "--org", "acme")
            old = run("keys", "create", "--org", "acme", "--name", "k", "--to", "vault:secret/a").json["key_id"]
            assert run("keys", "check").stderr == "1 destinations, 0 of them not as they should be.\n"
            monkeypatch.setenv("VAULT_TOKEN", stub.token(["data"]))
            rotated = run("keys", "rotate", old)
            said = f"{old} is named beside it"
            assert (rotated.code, said in rotated.stderr) == (0, True)
            assert said in run("keys", "deliveries", rotated.json["key_id"], "--json").json[0]["error"]
            checked = run("keys", "check", "--json")
            assert (checked.code, checked.json[0]["condition"], said in checked.json[0]["detail"]) == (0, "ok", True)
            assert "1 of the others with a warning" in checked.stderr
            assert said in run("destinations", "check", "vault", "--org", "acme").json["warning"]

    def test_the_table_names_the_same(self, run: Run) -> None:
        rows = run("keys", "deliveries", created(run)).rows
        assert rows[0][:4] == ["DESTINATION", "AT", "STATE", "VERSION"]
        assert rows[1][2] == "verified"

    def test_a_key_that_is_not_there(self, run: Run) -> None:
        refused = run("keys", "deliveries", "key_nosuch")
        assert (refused.code, refused.stdout) == (1, "")


@pytest.mark.usefixtures("acme", "in_core")
class TestEndOfTheSearch:
    def test_a_dead_value_that_nobody_can_reach_any_more_can_be_given_up(self, run: Run, tmp_path: Path) -> None:
        key_id = created(run)
        broken = (tmp_path / ".env").read_text() * 2  # refused: it is set twice
        (tmp_path / ".env").write_text(broken)
        assert run("keys", "delete", key_id, "--yes").code == 1
        assert run("keys", "reconcile").code == 1
        given_up = run("keys", "delete", key_id, "--yes", "--keep-in-destination")
        assert (given_up.code, given_up.json["deleted"]) == (0, True)
        ran = run("keys", "reconcile")
        assert (ran.code, ran.stdout) == (0, "Nothing is unfinished.\n")
        assert (tmp_path / ".env").read_text() == broken
        with reading(db.session):
            assert get_key(db.session, key_id).stored_state == "revoked"

    @pytest.mark.fault
    def test_a_place_that_lets_nobody_look_leaves_the_search_open(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def deny(*_: object) -> bool:
            raise Denied("It lets nobody look.")

        key_id = created(run)
        with monkeypatch.context() as patched:
            patched.setattr(DotenvDestination, "remove", deny)
            assert run("keys", "delete", key_id, "--yes").code == 1
            ran = run("keys", "reconcile", "--json")
        assert (ran.code, [row["result"] for row in ran.json]) == (1, ["denied"])
        assert run("keys", "reconcile").code == 0
