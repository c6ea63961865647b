"""`--limit` and `--network` of `flask keys`, `flask orgs` and `flask policies`."""

import pytest

from mushu.server.config import Settings
from tests.server.commands.conftest import Run
from tests.server.commands.test_doctor import bad


def test_a_key_is_created_with_limits_and_networks_and_they_are_changed(run: Run, acme: str) -> None:
    made = run(
        "keys", "create", "--name", "k", "--show-once", "--limit", "9/total", "--limit", "1/second",
        "--network", "2001:DB8::/32", "--network", "192.0.2.7",
    ).json  # fmt: skip
    assert (made["limits"], made["networks"]) == (["1/second", "9/total"], ["2001:db8::/32", "192.0.2.7/32"])
    key_id = made["key_id"]
    assert run("keys", "update", key_id, "--limit", "5/day").json["limits"] == ["5/day"]
    shown = run("keys", "show", key_id).json
    assert (shown["limits"], shown["networks"]) == (["5/day"], ["2001:db8::/32", "192.0.2.7/32"])
    assert run("keys", "list", "--json").json[0]["limits"] == ["5/day"]
    assert "networks" not in run("keys", "update", key_id, "--no-networks").json
    assert "limits" not in run("keys", "update", key_id, "--no-limits").json
    trail = run("audit", "list", "--action", "key", "--json").json
    assert [event["details"] for event in trail if event["action"] == "key.restricted"] == [
        {"limits": []}, {"networks": []}, {"limits": ["5/day"]},
    ]  # fmt: skip
    assert trail[-1]["details"]["limits"] == ["1/second", "9/total"]


def test_what_is_wrong_is_told(run: Run, acme: str) -> None:
    key_id = run("keys", "create", "--name", "k", "--show-once").json["key_id"]
    run("policies", "add", "p", "--scope", "read")
    for arguments, code, said in (
        (("keys", "create", "--name", "k", "--show-once", "--limit", "0/day"), 1, "100/minute"),
        (("keys", "create", "--name", "k", "--show-once", "--network", "10.0.0.1/8"), 1, "10.0.0.0/8"),
        (("keys", "update", key_id), 1, "Say what is to change"),
        (("keys", "update", key_id, "--limit", "1/day", "--no-limits"), 2, "not both"),
        (("keys", "update", key_id, "--network", "::/0", "--no-networks"), 2, "not both"),
        (("keys", "update", "key_x", "--no-limits"), 1, "no API key"),
        (("orgs", "update", "acme"), 2, "Say what is to change"),
        (("orgs", "update", "acme", "--limit", "1/day", "--limit", "2/day"), 1, "two limits"),
        (("policies", "update", "p"), 1, "Say what is to change"),
        (("policies", "update", "p", "--over-limit", "200"), 2, "403"),
        (("policies", "update", "q", "--no-limits"), 1, "no policy"),
    ):
        ran = run(*arguments)
        assert (ran.code, ran.stdout) == (code, ""), arguments
        assert said in ran.stderr


def test_an_organization_and_a_policy_have_limits(run: Run, acme: str) -> None:
    assert run("orgs", "update", "acme", "--limit", "1000/day").json["limits"] == ["1000/day"]
    assert run("orgs", "show", "acme").json["limits"] == ["1000/day"]
    assert "limits" not in run("orgs", "update", acme, "--no-limits").json
    added = run("policies", "add", "p", "--scope", "read", "--limit", "10/second", "--over-limit", "429").json
    assert (added["limits"], added["over_limit"]) == (["10/second"], 429)
    changed = run("policies", "update", "p", "--limit", "7/minute", "--over-limit", "403").json
    assert (changed["limits"], changed["over_limit"]) == (["7/minute"], 403)
    assert run("policies", "show", "p").json == changed
    assert "limits" not in run("policies", "update", "p", "--no-limits").json
    run("policies", "remove", "p", "--yes")
    assert "removed already" in run("policies", "update", "p", "--limit", "1/day").stderr


@pytest.mark.sqlite
def test_doctor_says_what_to_do_about_a_limiter_that_is_gone(run: Run, acme: str, settings: Settings) -> None:
    run("orgs", "update", "acme", "--limit", "1000/day")
    assert f"put {settings.limits_path} back" in bad(run)["limits"]
