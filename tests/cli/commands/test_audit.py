"""`mushu audit list`."""

import csv
import json

from tests.cli.conftest import Mushu
from tests.cli.stub import Stub

EVENT = {
    "event_id": 7, "at": "2026-01-15T10:30:00Z", "action": "key.renamed", "actor_kind": "operator", "actor_id": None,
    "target_id": "key_1", "org_id": "org_1", "details": {"to": "=1+1, \u001b[2J"},
}  # fmt: skip
PATH = "/orgs/org_aaaaaaaaaaaa/audit"


def test_as_a_table_with_the_filters_that_are_given(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", PATH, {"events": [EVENT], "next_cursor": None})
    options = ("--action", "key", "--actor", "usr_a", "--key", "key_1", "--since", "2026-01-15T11:30:00+01:00")
    lines = mushu("audit", "list", "--org", "org_aaaaaaaaaaaa", *options).stdout.splitlines()
    assert lines[0].split() == ["AT", "ACTION", "BY", "ACTOR", "TARGET"]
    assert lines[1].split() == ["2026-01-15T10:30:00Z", "key.renamed", "operator", "-", "key_1"]
    (asked,) = asking.asked_for("GET", PATH)
    assert asked.query == {
        "action": ["key"], "actor": ["usr_a"], "key": ["key_1"], "since": ["2026-01-15T10:30:00Z"], "limit": ["500"],
    }  # fmt: skip


def test_as_csv_that_steers_no_terminal_and_no_spreadsheet(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", PATH, {"events": [EVENT, EVENT | {"target_id": "=cmd"}], "next_cursor": None})
    ran = mushu("audit", "list", "--org", "org_aaaaaaaaaaaa", "--csv")
    rows = list(csv.DictReader(ran.stdout.splitlines()))
    assert [row["target_id"] for row in rows] == ["key_1", '"=cmd"']
    assert json.loads(rows[0]["details"]) == EVENT["details"]
    assert rows[0]["actor_id"] == ""
    assert ran.stdout.replace("\n", "").isprintable()
    assert mushu("audit", "list", "--csv", "--json").code == 2
