"""`mushu api-key`: each command with a key of either environment, and what is refused before anything is sent."""

from datetime import UTC, datetime, timedelta

import pytest

from mushu.environment import Environment
from mushu.server.keys import Scope
from tests.cli.conftest import ORG, Mushu, Served
from tests.cli.stub import Asked, Stub, Told, problem

KEYS = f"/orgs/{ORG}/api-keys"
TEST_KEYS = f"/sandbox{KEYS}"
KEY = "msk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxx"
CREATE = ("api-key", "create", "--name", "n", "--org", ORG)
SHOW = ("api-key", "show", "key_1", "--org", ORG)


def _shown(key_id: str, created: str, **more: object) -> dict[str, object]:
    return {"key_id": key_id, "name": "k", "scopes": ["read"], "created_at": created, "state": "active"} | more


@pytest.mark.parametrize("env", ["live", "test"])
def test_a_key_is_made_in_its_environment_and_found_there_by_every_command(mushu: Mushu, acme: str, env: str) -> None:
    """The organization is named by its id or its name."""
    created = mushu("api-key", "create", "--name", "first", "--org", "acme", "--env", env).json
    assert created["key"].startswith(f"msk_{env}_")
    key_id = created["key_id"]
    shown = mushu("api-key", "show", key_id, "--org", acme).json
    assert (shown["name"], shown["state"], shown["environment"]) == ("first", "active", env)
    assert "key" not in shown
    assert mushu("api-key", "rename", key_id, "second", "--org", acme).json["name"] == "second"
    assert mushu("api-key", "disable", key_id, "--org", acme).json["state"] == "disabled"
    assert mushu("api-key", "enable", key_id, "--org", acme).json["state"] == "active"
    mushu("api-key", "extend", key_id, "--org", acme, "--for", "6h").fails("only the old key of a rotation")
    assert [key["key_id"] for key in mushu("api-key", "list", "--org", "acme", "--json").json] == [key_id]
    assert mushu("api-key", "delete", key_id, "--org", acme, "--yes").json == {"key_id": key_id, "deleted": True}
    assert len(mushu("api-key", "list", "--org", acme).rows) == 1
    assert mushu("api-key", "list", "--org", acme, "--json").json == []
    mushu("api-key", "show", key_id, "--org", acme).fails(
        f"There is no API key {key_id} in {acme}. `mushu api-key list --all --org {acme}`"
    )


def test_a_key_that_expires_ends_that_long_from_now_and_what_is_left_out_is_left_to_the_server(
    mushu: Mushu, asking: Stub
) -> None:
    asking.tell("POST", KEYS, {"key_id": "key_1", "key": KEY, "name": "n", "scopes": [], "created_at": "x"})
    before = datetime.now(UTC)
    assert mushu(*CREATE, "--expires", "90d").code == 0
    sent = asking.asked[-1].json["expires_at"]
    assert sent.endswith("Z")
    assert abs(datetime.fromisoformat(sent) - before - timedelta(days=90)) < timedelta(minutes=1)
    assert mushu(*CREATE).code == 0
    assert asking.asked[-1].json == {"name": "n"}


def test_a_key_has_limits_and_networks_which_are_changed_and_taken_back(mushu: Mushu, acme: str) -> None:
    made = mushu(
        "api-key", "create", "--name", "n", "--org", acme, "--limit", "9/total", "--network", "10.0.0.0/8"
    ).json
    assert (made["limits"], made["networks"]) == (["9/total"], ["10.0.0.0/8"])
    update = ("api-key", "update", made["key_id"], "--org", acme)
    changed = mushu(*update, "--limit", "1/second", "--limit", "5/day").json
    assert (changed["limits"], changed["networks"]) == (["1/second", "5/day"], ["10.0.0.0/8"])
    assert mushu(*update, "--no-networks", "--no-limits").json.keys().isdisjoint({"limits", "networks"})
    assert mushu(*update).code == 2
    assert mushu(*update, "--limit", "1/day", "--no-limits").code == 2
    mushu(*update, "--limit", "0/day").fails("A limit is written as 100/minute")


@pytest.mark.fault
def test_limits_and_networks_of_a_delivered_key_are_told(mushu: Mushu, acme: str) -> None:
    made = mushu(
        "api-key", "create", "--name", "n", "--org", acme, "--limit", "9/total", "--network", "::1", "--to", "env:.env"
    ).json
    assert (made["limits"], made["networks"]) == (["9/total"], ["::1/128"])


def test_a_key_can_be_due_to_be_rotated_from_time_to_time(mushu: Mushu, acme: str) -> None:
    created = mushu("api-key", "create", "--name", "n", "--org", acme, "--rotate-every", "90d").json
    assert (created["rotate_every"], created["rotate_at"]) == ("90d", "2026-04-15T10:30:00Z")
    delivered = mushu("api-key", "create", "--name", "n", "--org", acme, "--rotate-every", "90d", "--to", "env:.env")
    assert delivered.json["rotate_every"] == "90d"
    shown = mushu("api-key", "show", delivered.json["key_id"], "--org", acme).json
    assert shown["rotate_at"] == "2026-04-15T10:30:00Z"


def test_a_key_that_the_server_puts_somewhere_is_not_printed(mushu: Mushu, asking: Stub) -> None:
    place = "env:/srv/.env#K"
    answer = {"key_id": "key_1", "name": "n", "scopes": ["read"], "created_at": "x", "delivered_to": [place]}
    asking.tell("POST", KEYS, answer | {"key": KEY})
    ran = mushu(*CREATE, "--deliver-to", "backend", "--deliver-to", "worker")
    assert (ran.code, ran.json, ran.stderr) == (0, answer, "")
    assert asking.asked[-1].json == {"name": "n", "deliver_to": ["backend", "worker"]}


@pytest.mark.parametrize("options", [["--to", "env:.env", "--deliver-to", "backend"], ["--force"]], ids=" ".join)
def test_options_that_do_not_go_together_are_a_usage_error(mushu: Mushu, asking: Stub, options: list[str]) -> None:
    assert mushu(*CREATE, *options).code == 2
    assert asking.asked == []


@pytest.mark.parametrize("wrong", ["90", "0d", "d", "-1d", "1y", "99999999w", "1.5d", ""])
def test_a_duration_that_is_none_is_a_usage_error(mushu: Mushu, asking: Stub, wrong: str) -> None:
    mushu(*CREATE, "--expires", wrong).fails("such as 90d", code=2)
    assert asking.asked == []


def test_live_and_test_keys_are_listed_together_newest_first_over_all_pages(mushu: Mushu, asking: Stub) -> None:
    def live(asked: Asked) -> Told:
        if asked.query.get("cursor") == ["key_3"]:
            return Told({"api_keys": [_shown("key_1", "2026-01-01T00:00:00Z")], "next_cursor": None})
        return Told({"api_keys": [_shown("key_3", "2026-01-03T00:00:00Z")], "next_cursor": "key_3"})

    asking.tell("GET", KEYS, live)
    asking.tell("GET", TEST_KEYS, {"api_keys": [_shown("key_2", "2026-01-02T00:00:00Z")], "next_cursor": None})
    rows = mushu("api-key", "list", "--org", ORG).rows
    assert [row[0] for row in rows] == ["KEY_ID", "key_3", "key_2", "key_1"]
    assert rows[0][-1] == "ENV", "only where both are in it"
    assert [row["key_id"] for row in mushu("api-key", "list", "--org", ORG, "--json").json] == [
        "key_3",
        "key_2",
        "key_1",
    ]


def test_what_is_sorted_comes_live_keys_first_and_filters_are_passed_on(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", KEYS, {"api_keys": [_shown("key_1", "2026-01-01T00:00:00Z")], "next_cursor": None})
    asking.tell("GET", TEST_KEYS, {"api_keys": [_shown("key_2", "2026-01-02T00:00:00Z")], "next_cursor": None})
    ran = mushu("api-key", "list", "--org", ORG, "--sort", "name", "--search", "k", "--used-within", "1d")
    assert [row[0] for row in ran.rows] == ["KEY_ID", "key_1", "key_2"]
    assert ran.rows[0][-2:] == ["EXPIRES", "LAST_USED"]
    assert {str(sorted(asked.query.items())) for asked in asking.asked if asked.path in (KEYS, TEST_KEYS)} == {
        "[('limit', ['500']), ('search', ['k']), ('sort', ['name']), ('used_within', ['1d'])]"
    }


def test_all_asks_for_deleted_keys_and_shows_the_states(mushu: Mushu, asking: Stub) -> None:
    page = {"api_keys": [_shown("key_1", "2026-01-01T00:00:00Z", state="revoked")], "next_cursor": None}
    asking.tell("GET", KEYS, page)
    asking.tell("GET", TEST_KEYS, {"api_keys": [], "next_cursor": None})
    ran = mushu("api-key", "list", "--org", ORG, "--all")
    assert ran.rows == [
        ["KEY_ID", "NAME", "SCOPES", "CREATED", "STATE"],
        ["key_1", "k", "read", "2026-01-01", "revoked"],
    ]
    assert {asked.query["include_deleted"][0] for asked in asking.asked} == {"true"}


def test_a_list_whose_pages_lead_in_a_circle_ends(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", KEYS, {"api_keys": [], "next_cursor": "key_1"})
    mushu("api-key", "list", "--org", ORG).fails("its pages do not end")


@pytest.mark.parametrize(
    ("status", "code"), [(422, "invalid_input"), (403, "missing_scope"), (502, "delivery_failed")], ids=str
)
def test_what_the_server_refuses_is_said_in_its_words_and_not_tried_in_the_sandbox(
    mushu: Mushu, asking: Stub, status: int, code: str
) -> None:
    """A failed delivery included: nothing was minted, and that leaves no doubt."""
    for method, path, command in (("POST", KEYS, CREATE), ("GET", f"{KEYS}/key_1", SHOW)):
        asking.problem(method, path, status, code, "The server's words.")
        ran = mushu(*command)
        assert (ran.code, ran.stdout, ran.stderr) == (1, "", "Error: The server's words.\n")
    assert len(asking.asked) == 2


@pytest.mark.parametrize("command", ["show", "disable", "enable", "delete"])
@pytest.mark.parametrize("hostile", ["..", ".", "a/b", "key_1?x", "", "key 1", "%2e%2e", "k" * 65])
def test_an_id_that_would_climb_to_another_resource_is_never_sent(
    mushu: Mushu, asking: Stub, command: str, hostile: str
) -> None:
    mushu("api-key", command, "--org", ORG, "--", hostile).fails(code=2)
    assert asking.asked == []


def test_a_key_given_in_place_of_its_id_or_as_a_stray_argument_is_not_sent_and_not_repeated(
    mushu: Mushu, asking: Stub
) -> None:
    for arguments, sentence in (
        (("api-key", "delete", KEY, "--org", ORG), "that is a secret, not an id"),
        ((*CREATE, KEY), "msk_live_****"),
    ):
        assert KEY not in mushu(*arguments).fails(sentence, code=2).stderr
    assert asking.asked == []


def test_a_key_in_a_list_or_a_show_is_never_printed(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", f"{KEYS}/key_1", _shown("key_1", "2026-01-01T00:00:00Z", key=KEY))
    asking.tell("GET", KEYS, {"api_keys": [_shown("key_1", "2026-01-01T00:00:00Z", key=KEY)], "next_cursor": None})
    asking.tell("GET", TEST_KEYS, {"api_keys": [], "next_cursor": None})
    for arguments in (["show", "key_1"], ["list"], ["list", "--json"]):
        ran = mushu("api-key", *arguments, "--org", ORG).ok()
        assert KEY not in ran.stdout + ran.stderr


def test_a_key_of_the_wrong_environment_is_reported_once_for_both(mushu: Mushu, asking: Stub) -> None:
    for path in (KEYS, TEST_KEYS):
        asking.tell("DELETE", f"{path}/key_1", problem(404, "key_not_found", "There is no such key."))
    ran = mushu("api-key", "delete", "key_1", "--org", ORG).fails()
    assert ran.stderr.startswith(f"Error: There is no API key key_1 in {ORG}.")


def test_nothing_is_created_by_someone_who_is_not_logged_in(served: Served, mushu: Mushu) -> None:
    ran = mushu(*CREATE).fails()
    assert ran.stderr == f"Error: You are not logged in to {served.url}. Run `mushu auth login`.\n"


@pytest.mark.fault
def test_who_is_not_logged_in_asks_with_the_admin_key_of_the_environment(
    mushu: Mushu, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = served.world.org()
    _, key = served.world.key(org, Scope.READ, Scope.ADMIN, environment=Environment.TEST)
    monkeypatch.setenv("MUSHU_API_KEY", key)
    made = mushu("api-key", "create", "--name", "made").ok().json
    assert made["key"].startswith("msk_test_")
    listed = mushu("api-key", "list", "--json").ok().json
    assert made["key_id"] in [row["key_id"] for row in listed]
    assert {row["environment"] for row in listed} == {"test"}
    mushu("api-key", "delete", made["key_id"], "--yes").ok()
    mushu("api-key", "create", "--name", "live", "--env", "live").fails("This is a test key")


def test_usage_is_shown_as_text_and_a_strange_answer_is_a_sentence(mushu: Mushu, asking: Stub) -> None:
    told: dict[str, object] = {"requests": 7, "denials": 0, "unusual": ["It was \x1b[31mused."]}
    asking.tell("GET", f"{KEYS}/key_1/usage", told)
    usage = ("api-key", "usage", "key_1", "--org", ORG)
    assert mushu(*usage).ok().stdout.splitlines() == [
        "Requests        7, and 0 denials",
        "Unusual         It was \\u001b[31mused.",
    ]
    assert mushu(*usage, "--json").json == told
    for strange in ({"requests": "many"}, {"hours": [{"requests": 1}, 2]}):
        asking.tell("GET", f"{KEYS}/key_1/usage", strange)
        mushu(*usage).fails("it tells of usage in another way")


def test_the_list_asks_for_what_somebody_should_look_at(mushu: Mushu, asking: Stub) -> None:
    for path in (KEYS, TEST_KEYS):
        asking.tell("GET", path, {"api_keys": [], "next_cursor": None})
    flags = ("--unused", "--no-expiry", "--drifted", "--stalled", "--owner-left")
    ran = mushu("api-key", "list", "--org", ORG, *flags, "--idle", "90d", "--expires-within", "720h").ok()
    assert ran.stdout.split()[-2:] == ["EXPIRES", "LAST_USED"]
    wanted = {flag.strip("-").replace("-", "_"): ["true"] for flag in flags} | {
        "idle": ["90d"],
        "expires_within": ["30d"],
    }
    assert [wanted.items() <= asked.query.items() for asked in asking.asked] == [True, True]
