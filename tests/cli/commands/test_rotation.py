"""A new key in the place of one: from the client's machine, by the server, or printed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mushu.destination import DestinationError
from tests.cli.conftest import ORG, Mushu
from tests.cli.deliveries import DRAWERS, KEY_ID, OLD_ID, PATHS, Desk, Drawer, RotatingAuthority, proof
from tests.cli.stub import Asked, Stub, Told, problem
from tests.ran import Ran

REFUSING = DestinationError("The drawer is locked. Unlock it.", permanent=True)
ROTATE = ("api-key", "rotate", OLD_ID, "--org", ORG)
KEYS = PATHS["live"]
KEY = "msk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxx"
ANSWER = {
    "key_id": KEY_ID, "name": "backend", "scopes": ["read"], "created_at": "2026-01-15T10:30:00Z",
    "environment": "live", "replaces": OLD_ID,
}  # fmt: skip

LINE = {
    "uri": "env:/srv/.env#KEY", "state": "verified", "by": "server", "started_at": "2026-01-15T10:30:00Z",
    "verified_at": "2026-01-15T10:30:01Z", "delivered_by": "user:ada", "version": "7",
}  # fmt: skip


@dataclass
class RotatingDesk(Desk):
    """A command that rotates a key, which `drawer:desk` holds."""

    authority: RotatingAuthority

    def rotate(self, *more: str, to: str = "drawer:desk") -> Ran:
        return self.mushu(*ROTATE, "--to", to, *more)


@pytest.fixture
def desk(mushu: Mushu, asking: Stub, drawer: Drawer) -> RotatingDesk:
    authority = RotatingAuthority(asking)
    drawer.put(authority.old.reveal())
    return RotatingDesk(mushu, authority, drawer)


def test_the_new_key_is_put_over_the_old_one_and_not_printed(desk: RotatingDesk) -> None:
    path = Path(".env")
    path.write_text(f"# mine\nMUSHU_API_KEY={desk.authority.old.reveal()}\nA=1\n")
    path.chmod(0o600)
    ran = desk.rotate("--with-url", to="env:.env").ok()
    place = f"env:{Path.cwd()}/.env#MUSHU_API_KEY"
    assert ran.json == ANSWER | {"scopes": ["read", "write"], "delivered_to": [place]}
    key, url = desk.authority.secret.reveal(), desk.authority.stub.url
    assert path.read_text() == f"# mine\nMUSHU_API_KEY={key}\nA=1\nMUSHU_URL={url}\n"
    assert desk.authority.secret.reveal() not in ran.stdout + ran.stderr
    (report,) = desk.authority.reports
    assert report.json == {"deliveries": [proof(place, desk.authority.secret)]}
    assert desk.authority.state == "active"


def test_a_test_key_is_found_and_rotated_in_the_sandbox(mushu: Mushu, asking: Stub, drawer: Drawer) -> None:
    authority = RotatingAuthority(asking, "test")
    drawer.put(authority.old.reveal())
    assert mushu(*ROTATE, "--to", "drawer:desk").code == 0
    assert drawer.value == authority.secret.reveal()
    assert len(authority.rotations) == 1


def test_what_is_said_of_the_old_key_s_life_is_handed_on_and_the_rest_left_to_the_server(desk: RotatingDesk) -> None:
    assert desk.rotate().code == 0
    desk.drawer.put(None)
    life = ["--settle", "30s", "--deadline", "14d", "--at-deadline", "revoke", "--now"]
    assert desk.rotate(*life).code == 0
    first, second = desk.authority.rotations
    assert first.json == {"delivery": "client"}
    terms = {"settle": "30s", "deadline": "14d", "at_deadline": "revoke", "now": True}
    assert second.json == {"delivery": "client"} | terms


@pytest.mark.parametrize(
    "held",
    [{"state": "revoked"}, {"state": "failed"}, {"key_id": "key_before", "state": "retiring", "replaced_by": OLD_ID}],
)
def test_a_key_that_is_over_or_retires_for_this_one_makes_way_too(desk: RotatingDesk, held: dict[str, str]) -> None:
    desk.drawer.put("before")
    desk.authority.knows("before", **held)
    assert desk.rotate().code == 0
    assert desk.drawer.value == desk.authority.secret.reveal()


@pytest.mark.parametrize(
    "held",
    [
        None,
        {"key_id": "key_other", "state": "active"},
        {"key_id": "key_other", "state": "retiring", "replaced_by": "key_third"},
        {"key_id": "key_other", "state": "pending", "replaces": OLD_ID},
    ],
)
def test_everything_else_stays_and_nothing_is_made_unless_forced(
    desk: RotatingDesk, held: dict[str, str] | None
) -> None:
    desk.drawer.put("theirs")
    if held is not None:
        desk.authority.knows("theirs", **held)
    desk.rotate().fails("No key was created.")
    assert (desk.drawer.value, desk.authority.state, desk.authority.rotations) == ("theirs", "none", [])
    assert desk.rotate("--force").code == 0


@pytest.mark.parametrize(
    ("phase", "errors"), [("write", [REFUSING]), ("written", [REFUSING]), ("read", [None, REFUSING])]
)
def test_when_one_of_two_places_fails_the_old_key_is_back_at_both(
    desk: RotatingDesk, phase: str, errors: list[BaseException | None]
) -> None:
    old = desk.authority.old.reveal()
    shelf = DRAWERS.setdefault("shelf", Drawer())
    desk.drawer.put(old)
    shelf.put(old)
    desk.drawer.faults[phase] = list(errors)
    ran = desk.mushu(*ROTATE, "--to", "drawer:shelf", "--to", "drawer:desk").fails(f"{KEY_ID} was deleted.")
    assert (shelf.value, desk.authority.state, desk.authority.reports) == (old, "revoked", [])
    # Without a receipt, nothing is left to go back to; this is said, and the next rotation finds the place free.
    assert desk.drawer.value == (None if phase == "written" else old)
    assert ("drawer:desk held before could not be put back" in ran.stderr) is (phase == "written")
    assert old not in ran.stdout + ran.stderr


def test_a_successor_that_has_taken_over_is_never_deleted(desk: RotatingDesk) -> None:
    """Or the old key would retire in favour of nothing; with --now, no key would be left at all."""

    def take_over_and_say_otherwise(asked: Asked) -> Told:
        desk.authority.state = "active"
        return Told({"key_id": KEY_ID, "state": "something new"})

    desk.authority.on_report = take_over_and_say_otherwise
    desk.rotate("--now").fails(f"By then {KEY_ID} had taken over from {OLD_ID}, and it stays where it is.")
    assert (desk.drawer.value, desk.authority.state) == (desk.authority.secret.reveal(), "active")


def test_a_successor_of_which_nothing_is_known_is_not_deleted_and_the_old_key_is_put_back(desk: RotatingDesk) -> None:
    desk.authority.on_report = lambda asked: Told(b"", 502)
    desk.authority.stub.tell("GET", f"{KEYS}/{KEY_ID}", Told(b"", 502))
    desk.rotate().fails(f"It is not known whether {KEY_ID} took over from {OLD_ID}: mushu api-key show {KEY_ID}")
    assert (desk.drawer.value, desk.authority.state) == (desk.authority.old.reveal(), "pending")


def test_a_key_that_is_not_there_is_told_before_a_place_is_looked_at(desk: RotatingDesk) -> None:
    desk.authority.stub.tell("GET", f"{KEYS}/{OLD_ID}", problem(404, "key_not_found", "No."))
    desk.rotate().fails(f"There is no API key {OLD_ID} in {ORG}.")
    assert desk.drawer.calls == []


def test_where_the_server_put_it_is_printed_and_no_key(mushu: Mushu, asking: Stub) -> None:
    answer = ANSWER | {"delivered_to": ["env:/srv/.env#KEY"], "key": KEY}
    asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", answer)
    ran = mushu(*ROTATE)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.json == ANSWER | {"delivered_to": ["env:/srv/.env#KEY"]}
    assert asking.asked[-1].json == {}


def test_a_test_key_goes_to_the_destinations_that_are_named(mushu: Mushu, asking: Stub) -> None:
    asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 404, "key_not_found", "No.")
    asking.tell("POST", f"{PATHS['test']}/{OLD_ID}/rotate", ANSWER | {"delivered_to": ["env:/srv/.env#KEY"]})
    assert mushu(*ROTATE, "--deliver-to", "backend", "--deliver-to", "worker", "--settle", "2h").code == 0
    assert asking.asked[-1].json == {"settle": "2h", "deliver_to": ["backend", "worker"]}


@pytest.mark.parametrize(("arguments", "sent"), [((), {}), (("--show",), {"delivery": "response"})])
def test_a_key_that_is_answered_is_printed_in_the_contract_s_order(
    mushu: Mushu, asking: Stub, arguments: tuple[str, ...], sent: dict[str, str]
) -> None:
    asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", ANSWER | {"key": KEY})
    ran = mushu(*ROTATE, *arguments).ok()
    assert list(ran.json)[:5] == ["key_id", "key", "name", "scopes", "created_at"]
    assert ran.json == ANSWER | {"key": KEY}
    assert asking.asked[-1].json == sent


def test_a_key_that_only_a_client_reaches_is_answered_with_the_command_to_run(mushu: Mushu, asking: Stub) -> None:
    asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 422, "invalid_input", "Send `delivery: client`.")
    lines = [
        {"uri": "env:/home/ada/.env#KEY", "state": "verified", "by": "client"},
        {"uri": "env:/x; rm -rf ~", "state": "verified", "by": "client"},
        {"uri": "env:/home/ada/other#KEY", "state": "removed", "by": "client"},
    ]
    asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": lines})
    ran = mushu(*ROTATE).fails()
    command = f"mushu api-key rotate {OLD_ID} --to 'env:/home/ada/.env#KEY' --to 'env:/x; rm -rf ~'"
    assert f"`{command}`" in ran.stderr
    assert "--show" in ran.stderr
    assert "delivery: client" not in ran.stderr


@pytest.mark.parametrize("way", [[], ["--show"], ["--deliver-to", "backend"]])
def test_any_other_refusal_is_told_in_the_server_s_words(mushu: Mushu, asking: Stub, way: list[str]) -> None:
    """To those who said where the key goes, also where clients put it before."""
    line = {"uri": "env:/home/ada/.env#KEY", "state": "verified", "by": "client"}
    asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": [line] if way else []})
    for status, code in ((422, "invalid_input"), (409, "wrong_state"), (502, "delivery_failed")):
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", status, code, "Not like this.")
        assert mushu(*ROTATE, *way).stderr == "Error: Not like this.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "env:.env", "--show"],
        ["--to", "env:.env", "--deliver-to", "backend"],
        ["--deliver-to", "backend", "--show"],
        ["--force"],
        ["--at-deadline", "sometime"],
        ["--settle", "0h"],
        ["--to", "nowhere:x"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_meant_asks_nobody(mushu: Mushu, asking: Stub, arguments: list[str]) -> None:
    assert mushu(*ROTATE, *arguments).code == 2
    assert asking.asked == []


def test_the_ledger_is_a_table(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": [LINE]})
    assert mushu("api-key", "deliveries", OLD_ID, "--org", ORG).rows == [
        ["DESTINATION", "STATE", "VERSION", "DELIVERED", "VERIFIED", "CHECKED", "CONDITION", "BY", "ERROR"],
        ["env:/srv/.env#KEY", "verified", "7", "-", "2026-01-15T10:30:01Z", "-", "-", "user:ada", "-"],
    ]


def test_json_holds_all_that_the_server_told(mushu: Mushu, asking: Stub) -> None:
    asking.problem("GET", f"{KEYS}/{OLD_ID}/deliveries", 404, "key_not_found", "No.")
    asking.tell("GET", f"{PATHS['test']}/{OLD_ID}/deliveries", {"deliveries": [LINE | {"key": KEY}]})
    assert mushu("api-key", "deliveries", OLD_ID, "--org", ORG, "--json").json == [LINE]
