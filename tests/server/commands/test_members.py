import pytest

from tests.server.commands.conftest import Run


@pytest.fixture(autouse=True)
def _bob(run: Run, acme: str) -> None:
    run("users", "create", "--email", "bob@example.com")


def test_it_works(run: Run, acme: str) -> None:
    added = run("members", "add", "acme", "bob@example.com", "--role", "member").json
    assert list(added) == ["user_id", "org_id", "role", "joined_at", "email"]
    assert run("members", "set-role", acme, "bob@example.com", "--role", "admin").json["role"] == "admin"
    listed = run("members", "list", "acme")
    assert listed.rows[0] == ["USER_ID", "EMAIL", "ROLE", "JOINED"]
    assert {tuple(row[1:3]) for row in listed.rows[1:]} == {("ada@example.com", "owner"), ("bob@example.com", "admin")}
    removed = run("members", "remove", "acme", "bob@example.com").json
    assert removed == {"user_id": added["user_id"], "org_id": acme, "removed": True}
    assert len(run("members", "list", "acme", "--json").json) == 1


def test_the_owner_stays(run: Run) -> None:
    for arguments in (
        ["remove", "acme", "ada@example.com"],
        ["set-role", "acme", "ada@example.com", "--role", "member"],
    ):
        refused = run("members", *arguments)
        assert refused.code == 1
        assert "owner" in refused.stderr


def test_nobody_is_added_twice_and_strangers_are_not_members(run: Run) -> None:
    run("members", "add", "acme", "bob@example.com", "--role", "member")
    assert run("members", "add", "acme", "bob@example.com", "--role", "admin").code == 1
    run("members", "remove", "acme", "bob@example.com")
    assert run("members", "remove", "acme", "bob@example.com").code == 1


def test_ownership_is_not_handed_out(run: Run) -> None:
    assert run("members", "add", "acme", "bob@example.com", "--role", "owner").code == 2
