"""A new key in the place of one: from the client's machine, by the server, or printed."""

from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu.keyformat import Prefix, generate
from tests.cli.conftest import ORG, Mushu
from tests.cli.deliveries import DRAWERS, KEY_ID, OLD_ID, PATHS, Drawer, RotatingAuthority
from tests.cli.stub import Asked, Stub, Told, problem

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


@pytest.fixture
def authority(asking: Stub) -> RotatingAuthority:
    return RotatingAuthority(asking)


class TestFromHere:
    def test_the_new_key_is_put_over_the_old_one_and_not_printed(
        self, mushu: Mushu, authority: RotatingAuthority
    ) -> None:
        path = Path(".env")
        path.write_text(f"# mine\nMUSHU_API_KEY={authority.old.reveal()}\nA=1\n")
        path.chmod(0o600)
        ran = mushu(*ROTATE, "--to", "env:.env")
        assert ran.code == 0, ran.stderr
        place = f"env:{Path.cwd()}/.env#MUSHU_API_KEY"
        assert ran.json == ANSWER | {"scopes": ["read", "write"], "delivered_to": [place]}
        assert path.read_text() == f"# mine\nMUSHU_API_KEY={authority.secret.reveal()}\nA=1\n"
        assert authority.secret.reveal() not in ran.stdout + ran.stderr
        (report,) = authority.reports
        assert report.json == {"deliveries": [{"place": place, "digest": authority.secret.digest()}]}
        assert authority.state == "active"

    def test_a_test_key_is_found_and_rotated_in_the_sandbox(self, mushu: Mushu, asking: Stub, drawer: Drawer) -> None:
        authority = RotatingAuthority(asking, "test")
        drawer.put(authority.old.reveal())
        assert mushu(*ROTATE, "--to", "drawer:desk").code == 0
        assert drawer.value == authority.secret.reveal()
        assert len(authority.rotations) == 1

    def test_what_is_said_of_the_old_key_s_life_is_handed_on_and_the_rest_left_to_the_server(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        assert mushu(*ROTATE, "--to", "drawer:desk").code == 0
        drawer.put(None)
        life = ["--settle", "30s", "--deadline", "14d", "--at-deadline", "revoke", "--now"]
        assert mushu(*ROTATE, "--to", "drawer:desk", *life).code == 0
        first, second = authority.rotations
        assert first.json == {"delivery": "client"}
        terms = {"settle": "30s", "deadline": "14d", "at_deadline": "revoke", "now": True}
        assert second.json == {"delivery": "client"} | terms

    @pytest.mark.parametrize(
        "held",
        [
            {"state": "revoked"},
            {"state": "failed"},
            {"key_id": "key_before", "state": "retiring", "replaced_by": OLD_ID},
        ],
    )
    def test_a_key_that_is_over_or_retires_for_this_one_makes_way_too(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer, held: dict[str, str]
    ) -> None:
        drawer.put("before")
        authority.knows("before", **held)
        assert mushu(*ROTATE, "--to", "drawer:desk").code == 0
        assert drawer.value == authority.secret.reveal()

    @pytest.mark.parametrize(
        "held",
        [
            None,
            {"key_id": "key_other", "state": "active"},
            {"key_id": "key_other", "state": "retiring", "replaced_by": "key_third"},
            {"key_id": "key_other", "state": "pending", "replaces": OLD_ID},
        ],
    )
    def test_everything_else_stays_and_nothing_is_minted_unless_forced(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer, held: dict[str, str] | None
    ) -> None:
        drawer.put("theirs")
        if held is not None:
            authority.knows("theirs", **held)
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert ran.code == 1
        assert "No key was created." in ran.stderr
        assert (drawer.value, authority.state, authority.rotations) == ("theirs", "none", [])
        assert mushu(*ROTATE, "--to", "drawer:desk", "--force").code == 0

    @pytest.mark.parametrize(
        ("phase", "errors"),
        [("write", [REFUSING]), ("written", [REFUSING]), ("read", [None, REFUSING])],
    )
    def test_when_one_of_two_places_fails_the_old_key_is_back_at_both(
        self,
        mushu: Mushu,
        authority: RotatingAuthority,
        drawer: Drawer,
        phase: str,
        errors: list[BaseException | None],
    ) -> None:
        old = authority.old.reveal()
        shelf = DRAWERS.setdefault("shelf", Drawer())
        drawer.put(old)
        shelf.put(old)
        drawer.faults[phase] = list(errors)
        ran = mushu(*ROTATE, "--to", "drawer:shelf", "--to", "drawer:desk")
        assert ran.code == 1
        assert f"{KEY_ID} was deleted." in ran.stderr
        assert (shelf.value, authority.state, authority.reports) == (old, "revoked", [])
        # Without a receipt, nothing is left to go back to; this is said, and the next rotation finds the place free.
        assert drawer.value == (None if phase == "written" else old)
        assert ("drawer:desk held before could not be put back" in ran.stderr) is (phase == "written")
        assert old not in ran.stdout + ran.stderr

    def test_an_interrupted_rotation_puts_the_old_key_back(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        drawer.put(authority.old.reveal())
        drawer.faults["read"] = [None, KeyboardInterrupt()]
        assert mushu(*ROTATE, "--to", "drawer:desk").code == 130
        assert (drawer.value, authority.state) == (authority.old.reveal(), "revoked")

    def test_a_report_that_is_refused_puts_the_old_key_back(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        drawer.put(authority.old.reveal())
        authority.on_report = lambda asked: problem(409, "wrong_state", f"{OLD_ID} is disabled.")
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert ran.stderr.startswith(f"Error: {OLD_ID} is disabled.")
        assert (drawer.value, authority.state) == (authority.old.reveal(), "revoked")

    def test_a_report_that_arrived_though_its_answer_got_lost_is_a_rotation(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        def lose(asked: Asked) -> Told:
            authority.state = "active"
            return Told(b"", 502)

        drawer.put(authority.old.reveal())
        authority.on_report = lose
        assert mushu(*ROTATE, "--to", "drawer:desk").code == 0
        assert drawer.value == authority.secret.reveal()

    def test_a_successor_that_has_taken_over_is_never_deleted(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        """Or the old key would retire in favour of nothing; with --now, no key would be left at all."""

        def take_over_and_say_otherwise(asked: Asked) -> Told:
            authority.state = "active"
            return Told({"key_id": KEY_ID, "state": "something new"})

        drawer.put(authority.old.reveal())
        authority.on_report = take_over_and_say_otherwise
        ran = mushu(*ROTATE, "--to", "drawer:desk", "--now")
        assert ran.code == 1
        assert f"By then {KEY_ID} had taken over from {OLD_ID}, and it stays where it is." in ran.stderr
        assert (drawer.value, authority.state) == (authority.secret.reveal(), "active")

    def test_a_successor_of_which_nothing_is_known_is_not_deleted_and_the_old_key_is_put_back(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        drawer.put(authority.old.reveal())
        authority.on_report = lambda asked: Told(b"", 502)
        authority.stub.tell("GET", f"{KEYS}/{KEY_ID}", Told(b"", 502))
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert ran.code == 1
        assert f"It is not known whether {KEY_ID} took over from {OLD_ID}: mushu api-key show {KEY_ID}" in ran.stderr
        assert (drawer.value, authority.state) == (authority.old.reveal(), "pending")

    def test_a_refusal_of_the_server_leaves_the_place_alone(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        drawer.put(authority.old.reveal())
        authority.stub.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 409, "wrong_state", f"{OLD_ID} is disabled.")
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert (ran.code, ran.stderr) == (1, f"Error: {OLD_ID} is disabled.\n")
        assert "write" not in drawer.calls

    def test_an_answer_that_holds_no_deliverable_key_writes_nothing_and_deletes_it(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        drawer.put(authority.old.reveal())
        other = authority.created() | {"key": generate(Prefix.TEST_KEY).reveal()}
        authority.stub.tell("POST", f"{KEYS}/{OLD_ID}/rotate", other)
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert ran.code == 1
        assert f"{KEY_ID} was deleted." in ran.stderr
        assert (drawer.value, authority.state) == (authority.old.reveal(), "revoked")

    def test_a_key_that_is_not_there_is_told_before_a_place_is_looked_at(
        self, mushu: Mushu, authority: RotatingAuthority, drawer: Drawer
    ) -> None:
        authority.stub.tell("GET", f"{KEYS}/{OLD_ID}", problem(404, "key_not_found", "No."))
        ran = mushu(*ROTATE, "--to", "drawer:desk")
        assert ran.code == 1
        assert f"There is no API key {OLD_ID} in {ORG}." in ran.stderr
        assert drawer.calls == []


class TestOnTheServer:
    def test_where_the_server_put_it_is_printed_and_no_key(self, mushu: Mushu, asking: Stub) -> None:
        answer = ANSWER | {"delivered_to": ["env:/srv/.env#KEY"], "key": KEY}
        asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", answer)
        ran = mushu(*ROTATE)
        assert (ran.code, ran.stderr) == (0, "")
        assert ran.json == ANSWER | {"delivered_to": ["env:/srv/.env#KEY"]}
        assert asking.asked[-1].json == {}

    def test_it_goes_to_the_destinations_that_are_named(self, mushu: Mushu, asking: Stub) -> None:
        asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", ANSWER | {"delivered_to": ["env:/srv/.env#KEY"]})
        assert mushu(*ROTATE, "--deliver-to", "backend", "--deliver-to", "worker", "--settle", "2h").code == 0
        assert asking.asked[-1].json == {"settle": "2h", "deliver_to": ["backend", "worker"]}

    @pytest.mark.parametrize(("arguments", "sent"), [((), {}), (("--show",), {"delivery": "response"})])
    def test_a_key_that_is_answered_is_printed_in_the_contract_s_order(
        self, mushu: Mushu, asking: Stub, arguments: tuple[str, ...], sent: dict[str, str]
    ) -> None:
        asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", ANSWER | {"key": KEY})
        ran = mushu(*ROTATE, *arguments)
        assert ran.code == 0
        assert list(ran.json)[:5] == ["key_id", "key", "name", "scopes", "created_at"]
        assert ran.json == ANSWER | {"key": KEY}
        assert asking.asked[-1].json == sent

    def test_a_test_key_is_rotated_in_the_sandbox(self, mushu: Mushu, asking: Stub) -> None:
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 404, "key_not_found", "No.")
        asking.tell("POST", f"{PATHS['test']}/{OLD_ID}/rotate", ANSWER | {"key": KEY})
        assert mushu(*ROTATE).code == 0

    def test_a_key_that_only_a_client_reaches_is_answered_with_the_command_to_run(
        self, mushu: Mushu, asking: Stub
    ) -> None:
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 422, "invalid_input", "Send `delivery: client`.")
        lines = [
            {"uri": "env:/home/ada/.env#KEY", "state": "verified", "by": "client"},
            {"uri": "env:/x; rm -rf ~", "state": "verified", "by": "client"},
            {"uri": "env:/home/ada/other#KEY", "state": "removed", "by": "client"},
        ]
        asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": lines})
        ran = mushu(*ROTATE)
        assert (ran.code, ran.stdout) == (1, "")
        command = f"mushu api-key rotate {OLD_ID} --to 'env:/home/ada/.env#KEY' --to 'env:/x; rm -rf ~'"
        assert f"`{command}`" in ran.stderr
        assert "--show" in ran.stderr
        assert "delivery: client" not in ran.stderr

    @pytest.mark.parametrize("way", [["--show"], ["--deliver-to", "backend"]])
    def test_who_said_where_the_key_goes_is_not_told_to_say_it(
        self, mushu: Mushu, asking: Stub, way: list[str]
    ) -> None:
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 422, "invalid_input", "A year at most.")
        line = {"uri": "env:/home/ada/.env#KEY", "state": "verified", "by": "client"}
        asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": [line]})
        assert mushu(*ROTATE, *way, "--settle", "800d").stderr == "Error: A year at most.\n"

    def test_any_other_refusal_is_told_in_the_server_s_words(self, mushu: Mushu, asking: Stub) -> None:
        asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": []})
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 422, "invalid_input", "A year at most.")
        assert mushu(*ROTATE, "--settle", "800d").stderr == "Error: A year at most.\n"
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 409, "wrong_state", f"{OLD_ID} is disabled.")
        assert mushu(*ROTATE).stderr == f"Error: {OLD_ID} is disabled.\n"

    def test_a_lost_answer_says_that_there_may_be_a_new_key_and_a_failed_delivery_that_there_is_none(
        self, mushu: Mushu, asking: Stub, impatient: None
    ) -> None:
        asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", Told(b"bad gateway", 502))
        ran = mushu(*ROTATE)
        assert ran.code == 1
        assert f"It may have been rotated all the same: see `mushu api-key show {OLD_ID}`." in ran.stderr
        asking.problem("POST", f"{KEYS}/{OLD_ID}/rotate", 502, "delivery_failed", "It refused.")
        assert mushu(*ROTATE).stderr == "Error: It refused.\n"

    def test_an_answer_without_a_key_or_a_place_is_no_success(self, mushu: Mushu, asking: Stub) -> None:
        for answer in (ANSWER, ANSWER | {"delivered_to": []}):
            asking.tell("POST", f"{KEYS}/{OLD_ID}/rotate", answer)
            ran = mushu(*ROTATE)
            assert (ran.code, ran.stdout) == (1, "")


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


class TestDeliveries:
    def test_the_ledger_is_a_table(self, mushu: Mushu, asking: Stub) -> None:
        asking.tell("GET", f"{KEYS}/{OLD_ID}/deliveries", {"deliveries": [LINE]})
        ran = mushu("api-key", "deliveries", OLD_ID, "--org", ORG)
        assert ran.code == 0
        headings = "DESTINATION STATE VERSION DELIVERED VERIFIED CHECKED CONDITION BY ERROR"
        assert ran.rows[0] == headings.split()
        assert ran.rows[1] == [
            "env:/srv/.env#KEY", "verified", "7", "-", "2026-01-15T10:30:01Z", "-", "-", "user:ada", "-",
        ]  # fmt: skip

    def test_json_holds_all_that_the_server_told(self, mushu: Mushu, asking: Stub) -> None:
        asking.problem("GET", f"{KEYS}/{OLD_ID}/deliveries", 404, "key_not_found", "No.")
        asking.tell("GET", f"{PATHS['test']}/{OLD_ID}/deliveries", {"deliveries": [LINE | {"key": KEY}]})
        ran = mushu("api-key", "deliveries", OLD_ID, "--org", ORG, "--json")
        assert ran.json == [LINE]

    def test_a_key_that_is_nowhere_has_no_lines(self, mushu: Mushu, acme: str) -> None:
        key_id = mushu("api-key", "create", "--name", "n", "--org", acme).json["key_id"]
        assert mushu("api-key", "deliveries", key_id, "--org", acme, "--json").json == []
