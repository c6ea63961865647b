from tests.server.commands.conftest import Run


def test_it_works(run: Run, acme: str) -> None:
    shown = run("orgs", "show", "acme").json
    assert list(shown) == ["org_id", "name", "created_at", "created_by"]
    assert run("orgs", "show", acme).json == shown
    assert run("orgs", "list").rows[0] == ["ORG_ID", "NAME", "CREATED"]
    assert run("orgs", "list", "--json").json == [shown]


def test_an_organization_is_renamed(run: Run, acme: str) -> None:
    assert run("orgs", "rename", "acme", "emca").json["name"] == "emca"
    assert run("orgs", "show", "acme").code == 1
    assert run("orgs", "show", "emca").json["org_id"] == acme


def test_an_ambiguous_name_lists_the_ids(run: Run, acme: str) -> None:
    other = run("orgs", "create", "acme", "--owner", "ada@example.com").json["org_id"]
    refused = run("orgs", "show", "acme")
    assert refused.code == 1
    assert acme in refused.stderr
    assert other in refused.stderr


def test_an_owner_must_exist(run: Run) -> None:
    refused = run("orgs", "create", "acme", "--owner", "bob@example.com")
    assert refused.code == 1
    assert "flask users create" in refused.stderr


def test_deleting_asks_first_and_says_how_to_agree_where_nobody_can_be_asked(run: Run, acme: str) -> None:
    refused = run("orgs", "delete", "acme", stdin="")
    assert refused.code == 2
    assert "--yes" in refused.stderr
    assert run("orgs", "show", acme).code == 0


def test_deleting_takes_every_key_and_its_value_along(run: Run, acme: str, tmp_path: object) -> None:
    made = run("keys", "create", "--org", "acme", "--name", "k", "--to", "env:app.env")
    shown = run("keys", "create", "--org", "acme", "--name", "k2", "--show-once")
    assert made.code == shown.code == 0
    deleted = run("orgs", "delete", "acme", "--yes")
    assert deleted.json == {"org_id": acme, "deleted": True}
    assert "removed" in deleted.stderr
    for key in (made, shown):
        assert run("keys", "show", key.json["key_id"]).json["state"] == "revoked"
    assert "msk_" not in (tmp_path / "app.env").read_text()  # type: ignore[operator]
    assert run("orgs", "list", "--json").json == []


def test_a_name_cannot_paint_on_the_terminal(run: Run, acme: str) -> None:
    assert run("orgs", "rename", "acme", "\x1b[31mred").code == 1


class TestTransfer:
    def test_it_works(self, run: Run, acme: str) -> None:
        run("users", "create", "--email", "bob@example.com")
        run("members", "add", "acme", "bob@example.com", "--role", "member")
        moved = run("orgs", "transfer", "acme", "bob@example.com").json
        assert (moved["org_id"], moved["email"], moved["role"]) == (acme, "bob@example.com", "owner")
        listed = run("members", "list", "acme", "--json").json
        assert {row["email"]: row["role"] for row in listed} == {"ada@example.com": "admin", "bob@example.com": "owner"}

    def test_only_a_member_who_does_not_own_it_can_get_it(self, run: Run, acme: str) -> None:
        run("users", "create", "--email", "bob@example.com")
        for email in ("bob@example.com", "nobody@example.com", "ada@example.com"):
            assert run("orgs", "transfer", "acme", email).code == 1
        (row,) = run("members", "list", acme, "--json").json
        assert (row["email"], row["role"]) == ("ada@example.com", "owner")
