import json

import pytest

from mushu.cli import config
from tests.cli.conftest import ORG, Mushu, Served
from tests.cli.stub import Stub


def test_an_organization_can_be_created_listed_and_shown_by_id_or_name(mushu: Mushu, ada: str) -> None:
    created = mushu("org", "create", "acme").json
    assert (created["name"], created["created_by"]) == ("acme", ada)
    assert mushu("org", "list").rows == [["ORG_ID", "NAME", "CREATED"], [created["org_id"], "acme", "2026-01-15"]]
    assert mushu("org", "list", "--json").json == [created]
    assert mushu("org", "show", created["org_id"]).json == created
    assert mushu("org", "show", "acme").json == created


def test_a_name_that_nobody_has_or_several_have_is_no_organization(mushu: Mushu, asking: Stub) -> None:
    named = [{"org_id": f"org_{letter * 12}", "name": "acme"} for letter in "ab"]
    asking.tell("GET", "/orgs", {"orgs": named})
    mushu("org", "show", "umbrella").fails(
        "There is no organization 'umbrella' that you belong to. `mushu org list` shows yours."
    )
    mushu("org", "show", "acme").fails(
        "2 organizations are named 'acme'. Use an id: org_aaaaaaaaaaaa, org_bbbbbbbbbbbb."
    )


def test_an_id_of_another_form_is_found_in_the_list(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": "org-1", "name": "x"}, {"org_id": "org-2", "name": "org-1"}]})
    asking.tell("GET", "/orgs/org-1", {"org_id": "org-1", "name": "x"})
    assert mushu("org", "show", "org-1").json["name"] == "x"


def test_use_makes_it_the_organization_of_every_command_on_that_server_only(
    mushu: Mushu, acme: str, stub: Stub
) -> None:
    assert mushu("org", "use", "acme").stdout.endswith(f"are about {acme} (acme) from now on.\n")
    assert mushu("org", "show").json["org_id"] == acme
    assert mushu("api-key", "list").code == 0
    assert mushu("org", "use", acme, "--json").json == {"org_id": acme, "name": "acme"}
    assert mushu("config", "show", "--url", stub.url, "--json").json["org"] is None


def test_the_organization_is_looked_for_in_the_option_the_environment_the_project_and_the_config(
    mushu: Mushu, asking: Stub, monkeypatch: object
) -> None:
    import os
    from pathlib import Path

    ids = {
        place: f"org_{letter * 12}" for place, letter in zip(("config", "file", "env", "option"), "abcd", strict=True)
    }
    for org_id in ids.values():
        asking.tell("GET", f"/orgs/{org_id}", {"org_id": org_id, "name": org_id})
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": ids["option"]}], "next_cursor": None})
    assert mushu("org", "show").json["org_id"] == ids["option"], "the only one"
    with config.changing(config.CONFIG) as kept:
        kept["orgs"] = {asking.url: ids["config"]}
    assert mushu("org", "show").json["org_id"] == ids["config"]
    Path(".mushu.json").write_text(json.dumps({"org_id": ids["file"]}))
    below = Path("a/b")
    below.mkdir(parents=True)
    os.chdir(below)
    ran = mushu("org", "show")
    assert ran.json["org_id"] == ids["file"]
    assert "from " in ran.stderr
    assert ".mushu.json." in ran.stderr
    os.environ["MUSHU_ORG_ID"] = ids["env"]
    try:
        ran = mushu("org", "show")
        assert (ran.json["org_id"], ran.stderr) == (ids["env"], "")
        assert mushu("org", "show", ids["option"]).json["org_id"] == ids["option"]
    finally:
        del os.environ["MUSHU_ORG_ID"]


@pytest.mark.parametrize("orgs", [[], [{"org_id": "org_1"}, {"org_id": "org_2"}]])
def test_no_organization_at_all_is_a_usage_error_that_says_how_to_choose_one(
    mushu: Mushu, asking: Stub, orgs: list[dict[str, str]]
) -> None:
    asking.tell("GET", "/orgs", {"orgs": orgs, "next_cursor": None})
    mushu("api-key", "list").fails("Add --org ORG, or choose one for every command: mushu org use ORG.", code=2)
    assert len(asking.asked) == 1


def test_an_organization_that_one_may_not_see_is_refused_in_the_server_s_words(mushu: Mushu, ada: str) -> None:
    mushu("org", "use", ORG).fails(f"There is no organization '{ORG}'")


def test_members_are_listed_added_changed_and_removed_by_id_or_address(
    served: Served, mushu: Mushu, acme: str, ada: str
) -> None:
    bob = served.world.user("Bob@example.com").id
    with_org = ("--org", acme)
    added = mushu("org", "members", "add", bob, "--role", "member", *with_org)
    assert added.json["role"] == "member", added.stderr
    listed = mushu("org", "members", "list", *with_org)
    assert listed.rows[0] == ["USER_ID", "EMAIL", "ROLE", "JOINED"]
    assert sorted(row[2] for row in listed.rows[1:]) == ["member", "owner"]
    by_address = mushu("org", "members", "set-role", "BOB@example.com", "--role", "admin", *with_org)
    assert by_address.json["role"] == "admin", by_address.stderr
    assert mushu("org", "members", "set-role", bob, "--role", "member", *with_org).json["role"] == "member"
    removed = mushu("org", "members", "remove", "bob@example.com", *with_org)
    assert removed.json == {"user_id": bob, "org_id": acme, "removed": True}
    assert len(mushu("org", "members", "list", "--json", *with_org).json) == 1
    ran = mushu("org", "members", "remove", "bob@example.com", *with_org)
    assert ran.stderr == "Error: bob@example.com is no member. `mushu org members list` shows who is.\n"


def test_a_new_member_is_named_by_id(mushu: Mushu, asking: Stub) -> None:
    mushu("org", "members", "add", "bob@example.com", "--role", "member", "--org", ORG).fails(
        "named by id, not by address", code=2
    )


def test_the_owner_is_not_removed_and_the_server_says_why(mushu: Mushu, acme: str, ada: str) -> None:
    ran = mushu("org", "members", "remove", ada, "--org", acme).fails()
    assert ran.stderr.startswith("Error: ")
    assert "owner" in ran.stderr


def test_a_member_s_id_that_would_climb_is_not_sent(mushu: Mushu, asking: Stub) -> None:
    mushu("org", "members", "remove", "..", "--org", ORG).fails("An id has only letters")
    assert asking.asked == []


def test_settings_are_shown_changed_and_taken_back(mushu: Mushu, acme: str) -> None:
    nothing = {
        "default_scopes": None,
        "default_lifetime": None,
        "default_rotate_every": None,
        "max_key_age": None,
        "email_domains": None,
    }
    assert mushu("org", "settings", acme).json == nothing
    changes = ["--default-scopes", "read, write", "--max-key-age", "90d", "--email-domains", "example.com,example.org"]
    settled = nothing | {
        "default_scopes": ["read", "write"],
        "max_key_age": "90d",
        "email_domains": ["example.com", "example.org"],
    }
    assert mushu("org", "settings", acme, *changes).json == settled
    assert mushu("org", "settings", "acme", "--max-key-age", "none").json == settled | {"max_key_age": None}
    mushu("org", "settings", acme, "--default-lifetime", "soon").fails("such as 90d")
