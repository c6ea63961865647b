import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mushu.cli.delivery import open_targets
from mushu.destination import Attempt, DestinationError, Label, Receipt, Secret
from mushu.keyformat import Prefix, generate
from mushu.testing.leaks import traces
from tests.cli.conftest import Mushu
from tests.cli.deliveries import CREATE, DRAWERS, KEY_ID, PATHS, Authority, Desk, Drawer, DrawerDestination, Gate, proof
from tests.cli.stub import Asked, Stub, Told, problem

PASSING = DestinationError("The drawer is stuck.", permanent=False)
REFUSING = DestinationError("The drawer is locked. Unlock it.", permanent=True)


@pytest.fixture
def authority(asking: Stub) -> Authority:
    return Authority(asking)


def _key_in(path: Path, name: str = "MUSHU_API_KEY") -> str | None:
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False).get(name)


def test_a_key_is_put_into_a_dotenv_file_and_not_printed(mushu: Mushu, authority: Authority) -> None:
    ran = mushu(*CREATE, "--to", "env:.env").ok()
    path = Path.cwd() / ".env"
    assert ran.json == {
        "key_id": KEY_ID,
        "name": "backend",
        "scopes": ["read", "write"],
        "created_at": "2026-01-15T10:30:00Z",
        "environment": "live",
        "delivered_to": [f"env:{path}#MUSHU_API_KEY"],
    }
    assert list(ran.json) == ["key_id", "name", "scopes", "created_at", "environment", "delivered_to"]
    assert _key_in(path) == authority.secret.reveal()
    assert authority.secret.reveal() not in ran.stdout + ran.stderr
    assert authority.state == "active"


@pytest.mark.fault
def test_what_is_odd_about_a_key_that_is_there_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read = DrawerDestination.read
    monkeypatch.setattr(DrawerDestination, "read", lambda self: replace(read(self), label=Label("key_old", "Mend it.")))
    assert "drawer:desk: The key is there, and key_old is named beside it" in desk.create().ok().stderr


@pytest.mark.fault
def test_with_url_puts_the_address_beside_the_key_where_there_is_room(desk: Desk, asking: Stub) -> None:
    ran = desk.create("--to", "env:.env", "--with-url").ok()
    assert _key_in(Path(".env"), "MUSHU_URL") == asking.url
    assert _key_in(Path(".env")) == desk.authority.secret.reveal()
    assert f"drawer:desk has room for the key only. The key works. Set MUSHU_URL={asking.url}" in ran.stderr
    assert desk.mushu(*CREATE, "--with-url").code == 2


def test_an_older_server_that_knows_no_locations_is_told_none(mushu: Mushu, authority: Authority) -> None:
    def refuse(asked: Asked) -> Told | None:
        """As version 1.0 refuses a field that it does not know."""
        known = all("location" not in proof for proof in asked.json["deliveries"])
        detail = "`deliveries.0.location` is not a known field."
        return None if known else problem(422, "invalid_input", detail)

    authority.on_report = refuse
    assert mushu(*CREATE, "--to", "env:.env").code == 0
    assert authority.state == "active"


def test_what_is_reported_is_the_digest_that_was_read_back_at_every_place(mushu: Mushu, authority: Authority) -> None:
    mushu(*CREATE, "--to", "env:.env", "--to", "env:.env.worker#KEY").ok()
    (report,) = authority.reports
    assert report.json == {
        "deliveries": [
            proof(f"env:{Path.cwd()}/.env#MUSHU_API_KEY", authority.secret),
            proof(f"env:{Path.cwd()}/.env.worker#KEY", authority.secret),
        ]
    }


def test_a_test_key_is_delivered_and_reported_in_the_sandbox(mushu: Mushu, asking: Stub) -> None:
    authority = Authority(asking, "test")
    assert mushu(*CREATE, "--env", "test", "--to", "env:.env").code == 0
    assert authority.state == "active"
    assert all(asked.path.startswith("/sandbox/") for asked in asking.asked)


@pytest.mark.parametrize("uri", ["nowhere:x", "no uri", "drawer:bad", "drawer:broken", "env:.env#1x", "drawer:desk"])
def test_a_uri_that_names_no_place_or_a_named_one_again_is_a_usage_error_and_creates_nothing(
    desk: Desk, uri: str
) -> None:
    ran = desk.create("--to", uri)
    assert (ran.code, desk.authority.state) == (2, "none")
    assert ("Two of these name the same place" in ran.stderr) is (uri == "drawer:desk")


def test_a_value_that_is_there_stays_and_nothing_is_created_unless_forced(mushu: Mushu, authority: Authority) -> None:
    path = Path(".env")
    path.write_text("A=1\nMUSHU_API_KEY=mine\n")
    path.chmod(0o600)
    ran = mushu(*CREATE, "--to", "env:.env").fails("or overwrite it with --force. No key was created.")
    assert "mine" not in ran.stderr
    assert (path.read_text(), authority.state) == ("A=1\nMUSHU_API_KEY=mine\n", "none")
    assert mushu(*CREATE, "--to", "env:.env", "--force").code == 0
    assert path.read_text() == f"A=1\nMUSHU_API_KEY={authority.secret.reveal()}\n"


def test_a_forced_out_value_that_is_lost_is_not_said_to_be_back(desk: Desk) -> None:
    desk.drawer.put("mine")
    desk.drawer.faults["restore"] = [REFUSING]
    desk.authority.on_report = lambda asked: problem(409, "too_late", "Too late.")
    ran = desk.create("--force")
    assert "What drawer:desk held before could not be put back: nothing is there now." in ran.stderr
    assert "What was written was put back." not in ran.stderr
    assert desk.drawer.value is None


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_created(desk: Desk) -> None:
    desk.drawer.faults["preflight"] = [REFUSING]
    ran = desk.create()
    assert ran.stderr == "Error: drawer:desk: The drawer is locked. Unlock it. No key was created.\n"
    assert (ran.code, desk.authority.state) == (1, "none")


def test_a_plugin_gets_its_own_settings_and_none_of_another(
    authority: Authority, drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSHU_DRAWER_TIMEOUT", "3")
    monkeypatch.setenv("MUSHU_OTHER_TIMEOUT", "4")
    (target,) = open_targets(["drawer:desk"])
    plugin = target.destination.plugin
    assert isinstance(plugin, DrawerDestination)
    assert plugin.settings == {"timeout": "3"}


@pytest.mark.parametrize(
    "faults",
    [{"write": [PASSING, RuntimeError("x")]}, {"written": [PASSING]}, {"read": [None, PASSING, PASSING]}],
    ids=["twice refused", "no answer", "stale"],
)
def test_a_write_or_a_read_that_passes_when_it_is_tried_again_is_a_delivery(
    desk: Desk, faults: dict[str, list[BaseException | None]]
) -> None:
    desk.drawer.faults = {phase: list(errors) for phase, errors in faults.items()}
    assert desk.create().code == 0
    assert (desk.drawer.value, desk.authority.state) == (desk.authority.secret.reveal(), "active")


def test_a_write_that_did_nothing_is_found_out_by_reading_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(self: DrawerDestination, secret: Secret, attempt: Attempt) -> Receipt:
        return Receipt("1", secret.digest(), Secret(""))

    monkeypatch.setattr(DrawerDestination, "write", pretend)
    desk.create().fails("drawer:desk: It does not hold the key after the write.")
    assert (desk.authority.reports, desk.authority.state) == ([], "revoked")


def test_a_place_that_nothing_was_sent_to_is_not_touched_when_the_delivery_is_given_up(desk: Desk) -> None:
    desk.drawer.faults["write"] = [REFUSING]
    assert desk.create("--to", "drawer:shelf").code == 1
    assert DRAWERS["shelf"].calls == ["preflight", "read"]


@pytest.mark.parametrize(
    ("phase", "errors"),
    [
        ("write", [REFUSING]),
        ("write", [PASSING] * 3),
        ("written", [REFUSING]),
        ("read", [None, PASSING, PASSING, PASSING]),
    ],
)
def test_when_one_of_two_places_fails_both_are_as_before_and_the_key_is_dead(
    desk: Desk, phase: str, errors: list[BaseException | None]
) -> None:
    desk.drawer.faults[phase] = list(errors)
    path = Path(".env")
    path.write_text("# mine\nA=1\n")
    path.chmod(0o600)
    desk.mushu(*CREATE, "--to", "env:.env", "--to", "drawer:desk").fails(
        f"{KEY_ID} was deleted. What was written was put back."
    )
    assert (path.read_text(), desk.drawer.value, desk.authority.state) == ("# mine\nA=1\n", None, "revoked")
    assert desk.authority.reports == []


def test_a_value_that_was_forced_out_comes_back_when_the_delivery_fails(desk: Desk) -> None:
    desk.drawer.value = "mine"
    desk.authority.on_report = lambda asked: problem(409, "too_late", "The time to confirm is over. Create a new key.")
    desk.create("--force").fails("The time to confirm is over.")
    assert (desk.drawer.value, desk.authority.state) == ("mine", "revoked")


def test_a_place_that_somebody_else_writes_to_meanwhile_is_theirs(desk: Desk) -> None:
    def meddle(asked: Asked) -> Told:
        desk.drawer.put("theirs")
        return Told(desk.authority.created())

    desk.authority.stub.tell("POST", PATHS["live"], meddle)
    desk.create().fails("Somebody else wrote here.")
    assert (desk.drawer.value, desk.authority.state) == ("theirs", "revoked")


def test_a_value_that_cannot_be_taken_back_is_named_with_its_place(desk: Desk) -> None:
    desk.authority.on_report = lambda asked: problem(409, "too_late", "Too late.")
    desk.drawer.faults |= {"restore": [REFUSING], "remove": [REFUSING]}
    assert "Its value could not be taken back from drawer:desk: remove it there." in desk.create().stderr
    assert desk.authority.state == "revoked"


def test_a_key_that_cannot_be_deleted_is_named_with_the_way_to_do_it(desk: Desk) -> None:
    desk.authority.stub.tell("DELETE", f"{PATHS['live']}/{KEY_ID}", Told(b"", 503))
    desk.drawer.faults["write"] = [REFUSING]
    assert f"Delete it: mushu api-key delete {KEY_ID}." in desk.create().stderr


def test_a_report_whose_answer_got_lost_is_made_again(desk: Desk) -> None:
    answers: list[Told | None] = [Told(b"", 502), Told(b"", 504), None]
    desk.authority.on_report = lambda asked: answers.pop(0)
    assert desk.create().code == 0
    assert (len(desk.authority.reports), desk.authority.state) == (3, "active")


@pytest.mark.parametrize(
    ("told", "reports"), [(Told(b"", 502), 3), (Told({"key_id": KEY_ID, "state": "pending"}), 1)], ids=["lost", "other"]
)
def test_a_report_that_is_not_answered_by_active_is_a_failure_and_all_is_put_back(
    desk: Desk, told: Told, reports: int
) -> None:
    desk.authority.on_report = lambda asked: told
    desk.authority.stub.tell("GET", f"{PATHS['live']}/{KEY_ID}", Told(b"", 502))
    assert desk.create().code == 1
    assert len(desk.authority.reports) == reports
    assert (desk.drawer.value, desk.authority.state) == (None, "revoked")


@pytest.mark.parametrize("lost", [1, 3])
def test_a_report_that_arrived_though_its_answers_got_lost_is_a_delivery(desk: Desk, lost: int) -> None:
    answers = [Told(b"", 502)] * lost

    def lose(asked: Asked) -> Told | None:
        desk.authority.state = "active"
        return answers.pop() if answers else None

    desk.authority.on_report = lose
    assert desk.create().code == 0
    assert desk.drawer.value == desk.authority.secret.reveal()


def _create_answers(authority: Authority) -> dict[str, dict[str, Any]]:
    good = authority.created()
    return {
        "no key": {name: value for name, value in good.items() if name != "key"},
        "a line break": good | {"key": "msk_live_x\nEVIL=1"},
        "a typo": good | {"key": good["key"][:-1] + "!"},
        "a wrong checksum": good | {"key": good["key"][:-6] + "000000"},
        "the other environment": good | {"key": generate(Prefix.TEST_KEY).reveal()},
        "no date": {name: value for name, value in good.items() if name != "confirm_by"},
    }


@pytest.mark.parametrize(
    "kind", ["no key", "a line break", "a typo", "a wrong checksum", "the other environment", "no date"]
)
def test_an_answer_that_holds_no_deliverable_key_writes_nothing_and_deletes_it(desk: Desk, kind: str) -> None:
    answer = _create_answers(desk.authority)[kind]
    desk.authority.stub.tell("POST", PATHS["live"], answer)
    ran = desk.create().fails(f"{KEY_ID} was deleted.")
    assert "write" not in desk.drawer.calls
    assert desk.authority.state == "revoked"
    assert str(answer.get("key", "absent")) not in ran.stderr


def test_an_id_that_could_break_out_of_a_path_or_a_comment_is_refused(desk: Desk) -> None:
    desk.authority.stub.tell("POST", PATHS["live"], desk.authority.created() | {"key_id": "../x"})
    desk.create().fails("key_id is no id")
    assert desk.drawer.value is None


def test_a_server_that_does_not_know_deliveries_by_a_client_is_named_as_the_reason(
    mushu: Mushu, asking: Stub, drawer: Drawer
) -> None:
    asking.problem("POST", PATHS["live"], 422, "invalid_input", "delivery is not a known field.")
    mushu(*CREATE, "--to", "drawer:desk").fails("does not know deliveries by a client")


def test_another_refusal_of_the_creation_is_told_in_the_server_s_words(
    mushu: Mushu, asking: Stub, drawer: Drawer
) -> None:
    asking.problem("POST", PATHS["live"], 403, "missing_scope", "The scope admin is needed.")
    assert mushu(*CREATE, "--to", "drawer:desk").stderr == "Error: The scope admin is needed.\n"
    asking.tell("POST", PATHS["live"], Told(b"", 502))
    assert "it is pending and opens nothing" in mushu(*CREATE, "--to", "drawer:desk").stderr


def test_an_echo_of_the_key_in_the_answer_is_not_printed(desk: Desk) -> None:
    key = desk.authority.secret.reveal()
    desk.authority.stub.tell(
        "POST", PATHS["live"], desk.authority.created() | {"name": f"a {key}", "echo": key, "hint": [key]}
    )
    desk.authority.state = "pending"
    ran = desk.create().ok()
    assert key not in ran.stdout + ran.stderr


def test_an_interrupted_delivery_is_put_back(desk: Desk) -> None:
    desk.drawer.faults["read"] = [None, KeyboardInterrupt()]
    desk.create().fails("Interrupted. key_2x7kq4m5znb3 was deleted.", code=130)
    assert (desk.drawer.value, desk.authority.state) == (None, "revoked")


def test_no_failure_carries_the_key(authority: Authority, drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in its words, nor in a traceback that shows locals, chained exceptions included."""
    from mushu.cli.main import cli

    failures: list[BaseException] = []
    key = authority.secret.reveal()
    for fault in (
        {"write": [RuntimeError(key)] * 3},
        {"write": [DestinationError(f"no {key}", permanent=True)]},
        {"read": [None, RuntimeError(key), RuntimeError(key), RuntimeError(key)]},
        {
            "restore": [RuntimeError(key)] * 3,
            "remove": [RuntimeError(key)] * 3,
            "read": [None, *[RuntimeError(key)] * 9],
        },
    ):
        drawer.faults = dict(fault)  # type: ignore[arg-type]
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any will do
            cli.main([*CREATE, "--to", "drawer:desk"], prog_name="mushu", standalone_mode=False)
        failures.append(caught.value)
        drawer.put(None)
    own = str(Path(__file__).parent)
    for failure in failures:
        while failure.__traceback__ and own in failure.__traceback__.tb_frame.f_code.co_filename:
            failure.__traceback__ = failure.__traceback__.tb_next  # this test's own frame holds the key
        assert not [text for text in traces(failure) if key in text]


def _deliver_apart(stub: Stub) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mushu.cli.main", *CREATE, "--to", "env:.env"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "MUSHU_URL": stub.url},
    )  # fmt: skip


def test_a_client_that_is_killed_before_its_report_is_heard_leaves_an_inert_key(authority: Authority) -> None:
    gate = Gate()
    authority.on_report = lambda asked: gate(asked) or Told(b"", 500)
    process = _deliver_apart(authority.stub)
    assert gate.reached.wait(60)
    process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=10)
    gate.open()
    assert process.returncode == -signal.SIGKILL
    assert authority.state == "pending"
    assert _key_in(Path(".env")) == authority.secret.reveal()
    assert authority.secret.reveal() not in "".join(said)


def test_the_key_is_in_the_destination_and_nowhere_else(authority: Authority, tmp_path: Path) -> None:
    """Looked for while the command runs, in its arguments and environment, and after it in all that it wrote."""
    gate = Gate()
    authority.on_report = gate
    process = _deliver_apart(authority.stub)
    assert gate.reached.wait(60)
    seen = [_visible(Path(f"/proc/{process.pid}/{file}")) for file in ("cmdline", "environ")]
    gate.open()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    key = authority.secret.reveal().encode()
    assert not [text for text in [*seen, stdout.encode(), stderr.encode()] if key in text]
    homes = [tmp_path, Path(os.environ["HOME"])]
    holding = [path for home in homes for path in home.rglob("*") if path.is_file() and key in path.read_bytes()]
    assert holding == [tmp_path / "project" / ".env"]


def _visible(file: Path) -> bytes:
    """Return what this user may see of another process: nothing of its environment, without being root."""
    try:
        return file.read_bytes()
    except PermissionError:
        return b""
