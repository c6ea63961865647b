from datetime import datetime

import pytest

from mushu.server.config import Settings
from mushu.server.instance import listening
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


class TestInvite:
    def test_it_works(self, run: Run, acme: str) -> None:
        made = run("members", "invite", "acme", "--email", "Carol@Example.com", "--role", "admin").json
        assert (made["org_id"], made["invite_type"], made["email"]) == (acme, "email", "carol@example.com")
        assert (made["role"], made["status"], made["invited_by"]) == ("admin", "pending", "operator")
        assert made["url"] == f"http://127.0.0.1:8000/invites/{made['invite_token']}"

    def test_a_link_lasts_as_long_as_it_says(self, run: Run) -> None:
        made = run("members", "invite", "acme", "--link", "--role", "member", "--expires-days", "90").json
        assert (made["invite_type"], made["email"]) == ("link", None)
        created, expires = (datetime.fromisoformat(made[field]) for field in ("created_at", "expires_at"))
        assert (expires - created).days == 90

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--role", "member"],
            ["--link", "--email", "carol@example.com", "--role", "member"],
            ["--link", "--role", "owner"],
            ["--link"],
            ["--link", "--role", "member", "--expires-days", "0"],
            ["--link", "--role", "member", "--expires-days", "91"],
        ],
    )
    def test_a_wrong_command_line_invites_nobody(self, run: Run, arguments: list[str]) -> None:
        assert run("members", "invite", "acme", *arguments).code == 2
        assert run("members", "invites", "acme", "--all", "--json").json == []

    def test_what_is_no_address_or_no_organization_is_refused(self, run: Run) -> None:
        assert run("members", "invite", "acme", "--email", "carol", "--role", "member").code == 1
        assert run("members", "invite", "acme", "--email", "", "--role", "member").code == 1
        assert run("members", "invite", "nobody", "--link", "--role", "member").code == 1


class TestInvites:
    def test_it_works(self, run: Run) -> None:
        made = run("members", "invite", "acme", "--email", "carol@example.com", "--role", "member").json
        listed = run("members", "invites", "acme")
        assert listed.rows[0] == ["INVITE_ID", "TYPE", "EMAIL", "ROLE", "STATUS", "EXPIRES"]
        assert listed.rows[1:] == [
            [made["invite_id"], "email", "carol@example.com", "member", "pending", made["expires_at"]]
        ]
        assert "miv_" not in listed.stdout + run("members", "invites", "acme", "--json").stdout

    def test_only_what_is_unanswered_unless_all_are_wanted(self, run: Run, acme: str) -> None:
        made = run("members", "invite", "acme", "--link", "--role", "member").json
        cancelled = run("members", "cancel-invite", acme, made["invite_id"])
        assert cancelled.json == {"invite_id": made["invite_id"], "org_id": acme, "cancelled": True}
        assert run("members", "invites", "acme", "--json").json == []
        assert run("members", "invites", "acme", "--all").rows[1][:5] == [
            made["invite_id"], "link", "-", "member", "cancelled",
        ]  # fmt: skip


def test_an_invitation_is_cancelled_once_and_in_its_own_organization(run: Run) -> None:
    made = run("members", "invite", "acme", "--link", "--role", "member").json
    run("orgs", "create", "other", "--owner", "bob@example.com")
    assert run("members", "cancel-invite", "other", made["invite_id"]).code == 1
    assert run("members", "cancel-invite", "acme", made["invite_id"]).code == 0
    refused = run("members", "cancel-invite", "acme", made["invite_id"])
    assert refused.code == 1
    assert "still unanswered" in refused.stderr


@pytest.mark.fault
def test_links_name_the_address_that_the_running_server_listens_on(
    run: Run, acme: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    invite = ("members", "invite", acme, "--link", "--role", "member")
    with listening(settings.instance_path, "127.0.0.1", 8510), listening(settings.instance_path, "127.0.0.1", 9999):
        assert run(*invite).json["url"].startswith("http://127.0.0.1:8510/invites/"), "the first of two tells"
        assert "address: http://127.0.0.1:8510" in run("doctor").stdout
        assert "http://127.0.0.1:8510" in run("users", "reset", "ada@example.com").json["link"]
        monkeypatch.setenv("MUSHU_PUBLIC_URL", "https://keys.example.com")
        assert run(*invite).json["url"].startswith("https://keys.example.com/invites/")
        monkeypatch.delenv("MUSHU_PUBLIC_URL")
        (settings.instance_path / "listening.json").write_text("{")
        assert ":8000/invites/" in run(*invite).json["url"], "it is being written"
    assert ":8000/invites/" in run(*invite).json["url"], "no server is running"
