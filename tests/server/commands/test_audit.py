"""`flask audit list`."""

from tests.server.commands.conftest import Run


def test_an_operator_reads_all_of_it(run: Run, acme: str) -> None:
    rows = run("audit", "list", "--json").json
    assert [(row["action"], row["org_id"]) for row in rows] == [("org.created", acme), ("user.created", None)]
    assert rows[0]["details"]["name"] == "acme"
    table = run("audit", "list", "--org", "acme", "--since", "1h", "--actor", "operator").stdout.splitlines()
    assert table[0].split() == ["AT", "ACTION", "BY", "ACTOR", "TARGET", "ORG"]
    assert len(table) == 2
    assert run("audit", "list", "--until", "1h", "--json").json == []
    wrong = run("audit", "list", "--since", "lately")
    assert (wrong.code, "2026-01-15T10:30:00Z" in wrong.stderr) == (1, True)
