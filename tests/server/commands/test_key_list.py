"""`flask keys list` and `flask keys usage`: what an operator sees of keys, and of how they are used."""

from datetime import UTC, datetime, timedelta

import pytest

from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys.models import ApiKey
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


@pytest.mark.parametrize(
    ("option", "names"),
    [
        (["--unused"], ["ends", "old"]),
        (["--idle", "1h"], ["old"]),
        (["--expires-within", "30d"], ["ends"]),
        (["--no-expiry"], ["used", "old"]),
        (["--drifted"], []),
        (["--stalled"], []),
        (["--owner-left"], []),
        (["--unused", "--no-expiry"], ["old"]),
    ],
)
def test_the_list_shows_what_somebody_should_look_at(
    run: Run, acme: str, in_core: None, option: list[str], names: list[str]
) -> None:
    old, used = created(run, "old"), created(run, "used")
    created(run, "ends", "--expires", "29d")
    use_key(used, datetime.now(UTC))
    with writing(db.session):
        db.session.get_one(ApiKey, old).created_at -= timedelta(hours=2)
    assert [row["name"] for row in run("keys", "list", *option, "--json").json] == names
    heading, *_ = run("keys", "list", *option).stdout.splitlines()
    assert heading.split() == ["KEY_ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST_USED"]
    assert run("keys", "list", "--idle", "soon").code == 1


def test_keys_are_searched_sorted_and_summed_up(run: Run, acme: str, in_core: None) -> None:
    first, second = created(run, "Zeta of Acme"), created(run, "alpha", "--env", "test")
    use_key(second, datetime.now(UTC))
    for option, names in (
        (("--sort", "name"), ["alpha", "Zeta of Acme"]),
        (("--sort", "last_used"), ["alpha", "Zeta of Acme"]),
        (("--search", "A oF"), ["Zeta of Acme"]),
        (("--search", first[-6:]), ["Zeta of Acme"]),
        (("--used-within", "1h"), ["alpha"]),
        (("--created-by", "nobody"), []),
        (("--destination", "env:/srv/.env#K"), []),
    ):
        assert [row["name"] for row in run("keys", "list", *option, "--json").json] == names, option
    assert run("keys", "list", "--destination", "nowhere").code == 1
    said = run("keys", "summary").stdout.splitlines()
    assert said[0] == "Keys            2, and 0 deleted"
    assert "Never used      1" in said
    assert run("keys", "summary", "--env", "test", "--json").json["unused"] == 0
