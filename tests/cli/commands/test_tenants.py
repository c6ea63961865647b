import os
from pathlib import Path

import pytest

from mushu.cli.commands import tenants
from tests.cli.conftest import ORG, Mushu, Served
from tests.cli.stub import Stub, Told

TEAM, KEY_ID = "A1B2C3D4E5", "ABCDE12345"


def test_a_tenant_is_created_listed_shown_and_deleted_in_either_environment(mushu: Mushu, acme: str) -> None:
    with_org = ("--org", acme)
    live = mushu("tenant", "create", "--bundle-id", "com.example.shop", *with_org).json
    test = mushu("tenant", "create", "-b", "com.example.shop", "--env", "test", *with_org).json
    assert (live["environment"], live["use_sandbox"]) == ("live", False)
    assert (test["environment"], test["use_sandbox"]) == ("test", True)
    listed = mushu("tenant", "list", *with_org)
    assert listed.rows[0] == ["TENANT_ID", "BUNDLE_ID", "TEAM_ID", "ENV", "CREATED"]
    assert sorted(row[0] for row in listed.rows[1:]) == sorted([live["tenant_id"], test["tenant_id"]])
    assert len(mushu("tenant", "list", "--json", *with_org).json) == 2
    for tenant in (live, test):
        assert mushu("tenant", "show", tenant["tenant_id"]).json == tenant
        deleted = mushu("tenant", "delete", tenant["tenant_id"], "--yes").json
        assert deleted == {"tenant_id": tenant["tenant_id"], "deleted": True}
        mushu("tenant", "show", tenant["tenant_id"]).fails(
            f"There is no tenant {tenant['tenant_id']} (live or test), or you may not see it."
        )


def test_apple_s_credentials_are_given_changed_and_taken_away_and_never_printed(
    mushu: Mushu, acme: str, apple_key: Path
) -> None:
    secret = apple_key.read_text().splitlines()[1]
    names = ("--team-id", TEAM, "--key-id", KEY_ID)
    created = mushu(
        "tenant", "create", "--bundle-id", "com.example.shop", "--sandbox", "--org", acme, *names, "-f", str(apple_key)
    ).ok()
    tenant_id = created.json["tenant_id"]
    assert (created.json["team_id"], created.json["key_id"]) == (TEAM, KEY_ID)
    assert created.json["use_sandbox"] is True
    cleared = mushu("tenant", "credentials", "clear", tenant_id, "--yes")
    assert (cleared.json["team_id"], cleared.json["key_id"]) == (None, None)
    piped = ("tenant", "credentials", "set", tenant_id, *names, "--private-key-file", "-")
    changed = mushu(*piped, stdin=apple_key.read_text())
    assert changed.json["key_id"] == KEY_ID, changed.stderr
    for ran in (created, cleared, changed, mushu("tenant", "show", tenant_id)):
        assert secret not in ran.stdout + ran.stderr
    ran = mushu(*piped, stdin="-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n").fails(
        "private_key must be the content of the AuthKey_….p8 file"
    )
    assert "hunter2" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--team-id", TEAM], "go together: all three, or none."),
        (["--key-id", KEY_ID, "--private-key-file", "-"], "go together: all three, or none."),
        (["--team-id", TEAM, "--key-id", KEY_ID, "-f", "nowhere.p8"], "nowhere.p8 cannot be read: No such file"),
        (["--team-id", TEAM, "--key-id", KEY_ID, "-f", "binary.p8"], "binary.p8 cannot be read: it is no text."),
        (["--team-id", TEAM, "--key-id", KEY_ID, "-f", "-"], "that is no private key."),
    ],
    ids=range(5),
)
def test_half_of_apple_s_credentials_or_no_key_at_all_is_a_usage_error(
    mushu: Mushu, asking: Stub, arguments: list[str], sentence: str
) -> None:
    Path("binary.p8").write_bytes(b"\xff\xfe")
    mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", ORG, *arguments).fails(sentence, code=2)
    assert asking.asked == []


def test_a_key_is_not_taken_from_a_terminal_that_would_show_it(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr(tenants, "sys", type("Sys", (), {"stdin": Terminal}))
    mushu("tenant", "credentials", "set", "tenant_1", "--team-id", TEAM, "--key-id", KEY_ID, "-f", "-").fails(
        "Pipe the key in", code=2
    )


def test_a_key_file_that_others_can_read_is_remarked_on(mushu: Mushu, asking: Stub, apple_key: Path) -> None:
    apple_key.chmod(0o644)
    asking.tell("PATCH", "/tenants/tenant_1", {"tenant_id": "tenant_1"})
    ran = mushu("tenant", "credentials", "set", "tenant_1", "--team-id", TEAM, "-k", KEY_ID, "-f", str(apple_key)).ok()
    assert f"{apple_key} can be read by others." in ran.stderr
    assert asking.asked[-1].json["private_key"] == apple_key.read_text()


@pytest.mark.fault
@pytest.mark.parametrize("way", ["writable by others", "of another user"])
def test_a_key_file_that_another_user_could_have_written_is_not_sent(
    mushu: Mushu, asking: Stub, apple_key: Path, way: str
) -> None:
    if way == "of another user":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(apple_key, 65534, -1)
    else:
        apple_key.chmod(0o622)
    mushu("tenant", "credentials", "set", "tenant_1", "--team-id", TEAM, "-k", KEY_ID, "-f", str(apple_key)).fails(
        "what is in it", code=2
    )
    assert asking.asked == []


def test_use_makes_it_the_tenant_of_every_command_on_that_server_only(
    served: Served, mushu: Mushu, acme: str, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    mushu("device", "list").fails("Which tenant? Add --tenant TENANT", code=2)
    tenant_id = mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", acme).json["tenant_id"]
    assert mushu("tenant", "use", tenant_id).stdout == (
        f"Commands to {served.url} are about {tenant_id} (com.example.shop) from now on.\n"
    )
    assert mushu("device", "list").code == 0
    assert mushu("config", "show", "--json").json["tenant"] == tenant_id
    assert mushu("config", "show", "--json", "--url", stub.url).json["tenant"] is None
    monkeypatch.setenv("MUSHU_TENANT_ID", "tenant_elsewhere")
    assert "There is no tenant tenant_elsewhere" in mushu("device", "list").stderr
    assert mushu("device", "list", "--tenant", tenant_id).code == 0
    assert mushu("tenant", "use", tenant_id, "--json").json == {"tenant_id": tenant_id, "bundle_id": "com.example.shop"}


def test_a_tenant_is_created_once_however_often_the_answer_is_lost(mushu: Mushu, asking: Stub, impatient: None) -> None:
    trouble, made = Told({}, 502, {"Content-Type": "text/html"}), {"tenant_id": "tenant_1"}
    asking.tell("POST", "/tenants", trouble, trouble, made)
    assert mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", ORG).json == made
    keys = [asked.headers["idempotency-key"] for asked in asking.asked_for("POST", "/tenants")]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    asking.tell("POST", "/tenants", trouble)
    assert mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", ORG).code == 1
    further = {asked.headers["idempotency-key"] for asked in asking.asked_for("POST", "/tenants")[3:]}
    assert len(further) == 1
    assert further.isdisjoint(keys)


def test_what_is_refused_is_not_tried_again(mushu: Mushu, asking: Stub) -> None:
    asking.problem("POST", "/tenants", 422, "invalid_input", "A bundle id looks like com.example.shop.")
    ran = mushu("tenant", "create", "--bundle-id", "shop", "--org", ORG)
    assert ran.stderr == "Error: A bundle id looks like com.example.shop.\n"
    assert len(asking.asked) == 1
