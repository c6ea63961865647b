"""`flask policies`, and the mark of an operator."""

import pytest

from tests.server.commands.conftest import Run


def test_it_works(run: Run, acme: str) -> None:
    added = run("policies", "add", "reports", "--org", "acme", "--scope", "read")
    expected = {"name": "reports", "org_id": acme, "environment": "live", "scope": "read", "cli_tokens": False}
    assert added.json | expected == added.json
    assert run("policies", "add", "all", "--any-org", "--scope", "write", "--env", "test").json["org_id"] is None
    listed = run("policies", "list")
    assert listed.rows[0] == ["NAME", "ORG", "ENV", "SCOPE", "CLI_TOKENS", "LIMITS"]
    assert [row[0] for row in listed.rows[1:]] == ["all", "reports"]
    assert run("policies", "show", "reports").json == added.json


@pytest.mark.fault
def test_what_is_set_for_beyond_the_limits_is_shown_also_where_there_are_none(run: Run, acme: str) -> None:
    run("policies", "add", "reports", "--org", acme, "--scope", "read")
    assert run("policies", "update", "reports", "--over-limit", "429").json["over_limit"] == 429
    assert run("policies", "show", "reports").json["over_limit"] == 429
    run("policies", "update", "reports", "--limit", "9/day", "--limit", "5/minute")
    assert run("policies", "list").rows[1][-1] == "5/minute,9/day"


def test_a_name_is_given_once_and_a_removed_policy_stays_visible(run: Run, acme: str) -> None:
    run("policies", "add", "reports", "--org", acme, "--scope", "read", "--cli-tokens")
    assert "removed_at" in run("policies", "remove", "reports", "--yes").json
    assert run("policies", "list", "--json").json == []
    assert "removed_at" in run("policies", "show", "reports").json
    again = run("policies", "add", "reports", "--org", acme, "--scope", "read")
    assert again.code == 1
    assert "given once" in again.stderr
    assert "removed already" in run("policies", "remove", "reports", "--yes").stderr
    assert [event["action"] for event in run("audit", "list", "--action", "policy", "--json").json] == [
        "policy.removed", "policy.added",
    ]  # fmt: skip


def test_what_contradicts_itself_is_refused(run: Run, acme: str) -> None:
    assert run("policies", "add", "p", "--org", acme, "--any-org", "--scope", "read").code == 2
    assert run("policies", "add", "p", "--org", acme).code == 2
    for arguments, said in {
        ("p", "--any-org", "--cli-tokens", "--scope", "read"): "within an organization only",
        ("P..", "--scope", "read"): "1 to 63",
        ("p", "--org", "nobody", "--scope", "read"): "no organization",
    }.items():
        refused = run("policies", "add", *arguments)
        assert (refused.code, refused.stdout) == (1, "")
        assert said in refused.stderr
    assert "flask policies list" in run("policies", "show", "unknown").stderr


def test_an_operator_is_marked_and_unmarked(run: Run, acme: str) -> None:
    assert run("users", "operator", "add", "ada@example.com").json["operator"] is True
    assert run("users", "operator", "add", "ada@example.com").code == 0
    assert run("users", "operator", "remove", "ada@example.com").json["operator"] is False
    assert [event["action"] for event in run("audit", "list", "--action", "user", "--json").json][:2] == [
        "user.operator_removed", "user.operator_added",
    ]  # fmt: skip
