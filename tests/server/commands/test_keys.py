"""`flask keys`: the commands of the issue, as an operator types them."""

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mushu import keyformat
from mushu.keyformat import CREDENTIAL_PATTERN
from tests.server.commands.conftest import Run

pytestmark = pytest.mark.unmeasured

CREATE = ("keys", "create", "--org", "acme", "--name", "backend-server")


def test_a_delivered_key_is_in_its_file_and_nowhere_else(run: Run, acme: str, tmp_path: Path) -> None:
    made = run(*CREATE, "--to", "env:.env#MUSHU_API_KEY")
    assert made.code == 0
    assert list(made.json) == ["key_id", "name", "scopes", "created_at", "environment", "delivered_to"]
    assert made.json["delivered_to"] == [f"env:{tmp_path}/.env#MUSHU_API_KEY"]
    value = dotenv_values(tmp_path / ".env")["MUSHU_API_KEY"] or ""
    assert keyformat.parse(value) == "msk_live_"
    assert CREDENTIAL_PATTERN.search(made.stdout + made.stderr) is None
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
    assert holders == [tmp_path / ".env"]


@pytest.mark.fault
def test_with_url_puts_the_address_beside_the_key_where_there_is_none(
    run: Run, acme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(*CREATE, "--to", "env:.env", "--to", "env:.env.worker#KEY", "--with-url")
    assert (first.code, first.stderr) == (0, "")
    for name in (".env", ".env.worker"):
        assert dotenv_values(tmp_path / name)["MUSHU_URL"] == "http://127.0.0.1:8000"
    monkeypatch.setenv("MUSHU_HOST", "::1")  # a value with brackets would need quotes
    for file, says in ((".env", "holds another value, which stays"), (".env.new", "was not put beside the key")):
        made = run(*CREATE, "--to", f"env:{file}#SECOND", "--with-url")
        assert made.code == 0
        assert says in made.stderr
        assert made.stderr.endswith("The key works. Set MUSHU_URL=http://[::1]:8000 where it is used.\n")
        assert "SECOND" in dotenv_values(tmp_path / file)
    assert dotenv_values(tmp_path / ".env")["MUSHU_URL"] == "http://127.0.0.1:8000"
    assert run(*CREATE, "--show-once", "--with-url").code == 2


def test_show_once_answers_what_the_contract_shows(run: Run, acme: str) -> None:
    made = run(*CREATE, "--show-once")
    assert list(made.json) == ["key_id", "key", "name", "scopes", "created_at", "environment"]
    assert re.fullmatch(r"key_[a-z2-7]{12}", made.json["key_id"])
    assert re.fullmatch(r"msk_live_[0-9A-Za-z]{28}", made.json["key"])
    assert '\n  "scopes": ["read", "write"],\n' in made.stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made.json["created_at"])
    again = run("keys", "show", made.json["key_id"])
    assert made.json["key"] not in again.stdout


@pytest.mark.parametrize("where", [[], ["--to", "env:.env", "--show-once"]])
def test_where_the_key_goes_must_be_said_once(run: Run, acme: str, where: list[str]) -> None:
    refused = run(*CREATE, *where)
    assert (refused.code, refused.stdout) == (2, "")
    assert "--to" in refused.stderr
    assert "--show-once" in refused.stderr
    assert run("keys", "list", "--org", "acme", "--all", "--json").json == []


@pytest.mark.parametrize(
    ("option", "value", "code", "says"),
    [
        ("--scopes", "read,delete", 1, "read, write, admin"),
        ("--scopes", "", 1, "at least one"),
        ("--scopes", "read,read", 1, "more than once"),
        ("--expires", "soon", 1, "90d"),
        ("--expires", "", 1, "90d"),  # a variable that is not set, in a script
        ("--rotate-every", "", 1, "90d"),
        ("--rotate-every", "59m", 1, "every hour"),
        ("--env", "staging", 2, "live"),
        ("--org", "nosuch", 1, "flask orgs list"),
        ("--name", "", 1, "invisible"),
        ("--to", "nosuch:x", 1, "env:"),
        ("--to", "env:relative/missing/.env", 1, "missing"),
    ],
)
def test_bad_input_mints_nothing_and_says_what_to_do(
    run: Run, acme: str, option: str, value: str, code: int, says: str
) -> None:
    arguments = {"--org": "acme", "--name": "k"} | {option: value}
    flags = [part for pair in arguments.items() for part in pair]
    refused = run("keys", "create", *flags, *([] if option == "--to" else ["--show-once"]))
    assert (refused.code, refused.stdout) == (code, "")
    assert says in refused.stderr
    assert run("keys", "list", "--org", "acme", "--all", "--json").json == []


@pytest.mark.fault
def test_the_list_has_a_column_for_the_environment_where_both_are_in_it(run: Run, acme: str) -> None:
    for env in ("live", "test"):
        run("keys", "create", "--name", f"a-{env}", "--env", env, "--show-once")
    run("keys", "create", "--name", "b", "--env", "test", "--show-once")
    columns = ["KEY_ID", "NAME", "SCOPES", "CREATED"]
    rows = run("keys", "list", "--all").rows
    assert (rows[0], [row[4] for row in rows[1:]]) == ([*columns, "ENV", "STATE"], ["test", "test", "live"])
    assert run("keys", "list", "--env", "test").rows[0] == columns == run("keys", "list", "--name", "b").rows[0]


def test_the_list_is_the_contracts_table(run: Run, acme: str) -> None:
    first = run(*CREATE, "--show-once").json
    second = run("keys", "create", "--org", acme, "--name", "admin-tool", "--scopes", "read,write,admin", "--show-once")
    rows = run("keys", "list", "--org", "acme").rows
    assert rows[0] == ["KEY_ID", "NAME", "SCOPES", "CREATED"]
    day = first["created_at"][:10]
    assert sorted(rows[1:]) == sorted(
        [
            [first["key_id"], "backend-server", "read,write", day],
            [second.json["key_id"], "admin-tool", "read,write,admin", day],
        ]
    )
    lines = run("keys", "list", "--org", "acme").stdout.splitlines()
    starts = {line.index(word) for line, word in zip(lines[1:], ["read", "read"], strict=True)}
    assert starts == {lines[0].index("SCOPES")}, "columns are aligned"


def test_options_become_what_they_say_and_states_change(run: Run, acme: str) -> None:
    options = ["--scopes", "admin,read", "--env", "test", "--expires", "90d"]
    made = run(*CREATE, *options, "--show-once").json
    assert (made["scopes"], made["environment"]) == (["read", "admin"], "test")
    assert made["key"].startswith("msk_test_")
    assert made["expires_at"] > made["created_at"]
    assert run("keys", "disable", made["key_id"]).json["state"] == "disabled"
    assert run("keys", "disable", made["key_id"]).code == 1
    assert run("keys", "enable", made["key_id"]).json["state"] == "active"
    refused = run("keys", "extend", made["key_id"], "--for", "6h")
    assert "only the old key of a rotation can be given more time" in refused.stderr
    shown = run("keys", "show", made["key_id"]).json
    assert list(shown) == ["key_id", "name", "scopes", "created_at", "environment", "state", "hint", "expires_at"]


def test_delete_takes_the_value_away_if_it_may_and_leaves_the_rest(run: Run, acme: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n# comment\n")
    (tmp_path / ".env").chmod(0o600)
    key_id = run(*CREATE, "--to", "env:.env").json["key_id"]
    assert run("keys", "delete", key_id, "--yes").json == {"key_id": key_id, "deleted": True}
    assert (tmp_path / ".env").read_text() == "A=1\n# comment\n"
    assert f"{key_id} is revoked already." in run("keys", "delete", key_id, "--yes").stderr
    assert run("keys", "list", "--org", "acme", "--json").json == []
    rows = run("keys", "list", "--org", "acme", "--all").rows
    assert rows[0] == ["KEY_ID", "NAME", "SCOPES", "CREATED", "STATE"]
    assert rows[1][-1] == "revoked"
    key_id = run(*CREATE, "--to", "env:.env").json["key_id"]
    before = (tmp_path / ".env").read_bytes()
    assert run("keys", "delete", key_id, "--yes", "--keep-in-destination").code == 0
    assert (tmp_path / ".env").read_bytes() == before
    assert "Nothing is unfinished" in run("keys", "reconcile").stdout


def test_a_destination_that_cannot_be_reached_is_cleaned_up_later(run: Run, acme: str, tmp_path: Path) -> None:
    key_id = run(*CREATE, "--to", "env:.env").json["key_id"]
    content = (tmp_path / ".env").read_text()
    (tmp_path / ".env").write_text(content * 2)  # refused: it is set twice
    deleted = run("keys", "delete", key_id, "--yes")
    assert deleted.code == 1
    assert deleted.json["deleted"]
    assert "flask keys reconcile" in deleted.stderr
    assert run("keys", "reconcile").code == 1
    (tmp_path / ".env").write_text(content)
    assert run("keys", "reconcile", "--json").json[0]["result"] == "cleaned_up"
    assert "msk_" not in (tmp_path / ".env").read_text()
    assert "Nothing is unfinished" in run("keys", "reconcile").stdout


def test_a_value_that_is_not_ours_is_overwritten_with_force_only(run: Run, acme: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MUSHU_API_KEY=mine\n")
    (tmp_path / ".env").chmod(0o600)
    refused = run(*CREATE, "--to", "env:.env")
    assert refused.code == 1
    assert "--force" in refused.stderr
    assert (tmp_path / ".env").read_text() == "MUSHU_API_KEY=mine\n"
    assert run(*CREATE, "--to", "env:.env", "--force").code == 0
    assert "mine" not in (tmp_path / ".env").read_text()


def test_several_destinations_get_the_same_key_or_none(run: Run, acme: str, tmp_path: Path) -> None:
    made = run(*CREATE, "--to", "env:a.env", "--to", "env:b.env#OTHER")
    values = {dotenv_values(tmp_path / "a.env")["MUSHU_API_KEY"], dotenv_values(tmp_path / "b.env")["OTHER"]}
    assert len(values) == 1
    assert len(made.json["delivered_to"]) == 2
    (tmp_path / "c.env").write_text("")
    (tmp_path / "c.env").chmod(0o666)
    refused = run(*CREATE, "--to", "env:d.env", "--to", "env:c.env")
    assert refused.code == 1
    assert "chmod" in refused.stderr
    assert not (tmp_path / "d.env").exists()


def test_what_is_wrong_with_the_installation_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MUSHU_PORT", "0")
        patch.setenv("MUSHU_WORKERS", "x")
        refused = run("keys", "list", "--org", "acme")
    assert (refused.code, refused.stdout) == (1, "")
    assert "MUSHU_PORT" in refused.stderr
    assert "MUSHU_WORKERS" in refused.stderr
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(tmp_path / "new"))
    monkeypatch.delenv("MUSHU_DATABASE_URL", raising=False)
    refused = run("keys", "list", "--org", "acme")
    assert (refused.code, refused.stdout) == (1, "")
    assert "script/up" in refused.stderr


def test_commands_work_where_debug_mode_is_set_for_the_sake_of_another_app(
    run: Run, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    ran = run("keys", "create", "--org", acme, "--name", "k", "--to", "env:.env")
    assert ran.code == 0, ran.stderr
    assert run("--debug", "keys", "list", "--org", acme).code == 0


@pytest.mark.fault
def test_the_organization_is_that_of_the_environment_or_the_only_one(
    run: Run, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = run("keys", "create", "--name", "k", "--show-once").json["key_id"]
    assert run("destinations", "list", "--json").json == []
    other = run("orgs", "create", "other", "--owner", "ada@example.com").json["org_id"]
    assert "Which organization? Name it, or set MUSHU_ORG_ID." in run("keys", "list").stderr
    monkeypatch.setenv("MUSHU_ORG_ID", acme)
    assert [row["key_id"] for row in run("keys", "list", "--json").json] == [key_id]
    run("users", "create", "--email", "bob@example.com")
    for member in (["add", "bob@example.com", "--role", "member"], ["list", "--json"], ["remove", "bob@example.com"]):
        assert acme in run("members", *member).stdout
    assert run("orgs", "show").json["org_id"] == acme
    assert "Name one organization" in run("members", "list", "my", "org").stderr
    assert run("keys", "list", "--org", other, "--json").json == []
