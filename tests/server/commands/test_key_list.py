"""`flask keys list` and `flask keys usage`: what an operator sees of keys, and of how they are used."""

from datetime import UTC, datetime, timedelta

from tests.server.commands.conftest import Run
from tests.server.verbs import use_key


def created(run: Run, name: str, *more: str) -> str:
    key_id: str = run("keys", "create", "--name", name, "--show-once", *more).json["key_id"]
    return key_id


def test_usage_is_shown_with_a_chart_and_as_json(run: Run, acme: str, in_core: None) -> None:
    key_id = created(run, "k")
    assert run("keys", "usage", key_id).stdout.splitlines()[:2] == [
        "Requests        0, and 0 denials",
        "Last 24 hours   no requests",
    ]
    use_key(key_id, datetime.now(UTC) - timedelta(hours=1))
    said = run("keys", "usage", key_id).stdout
    assert "Requests        1, and 0 denials" in said
    assert "█" in said
    assert "Address         192.0.2.7, last at" in said
    assert run("keys", "usage", key_id, "--json").json["requests"] == 1
