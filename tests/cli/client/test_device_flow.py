import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mushu.cli import output
from mushu.cli.client import device_flow
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.tokens.device_flow import decide
from mushu.server.tokens.models import DeviceAuthorization
from tests.cli.conftest import TOKEN, Mushu, Served, log_in, login_answer
from tests.cli.stub import Stub, Told
from tests.conftest import TurnableClock
from tests.ran import Ran

PENDING = Told({"error": "authorization_pending", "error_description": "Not yet."}, 400)
BROKEN = Told(b"", 502)
SLOW = Told({"error": "slow_down", "error_description": "Too soon."}, 400)


class Patience:
    """Time that passes at once."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def monotonic(self) -> float:
        return sum(self.waited)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    patience = Patience()
    monkeypatch.setattr(output, "time", patience)
    monkeypatch.setattr(device_flow, "time", patience)
    return patience


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was opened with."""
    addresses: list[str] = []
    monkeypatch.setattr("mushu.cli.client.device_flow.open_browser", addresses.append)
    return addresses


@dataclass
class Flow:
    """A login by the device flow at the stub, where no time passes."""

    mushu: Mushu
    stub: Stub
    patience: Patience

    def tell(self, *answers: Told | dict[str, Any], **changes: Any) -> None:
        """Have the server answer the request for a code, with changes, and then the requests for a token."""
        answer = {
            "device_code": "dev_secret", "user_code": "BCDF-GHJK", "verification_uri": f"{self.stub.url}/activate",
            "verification_uri_complete": f"{self.stub.url}/activate?user_code=BCDF-GHJK", "expires_in": 600,
            "interval": 5,
        } | changes  # fmt: skip
        given = {name: value for name, value in answer.items() if value is not None}
        self.stub.tell("POST", "/auth/device/code", given)
        self.stub.tell("POST", "/auth/token", *(answers or [login_answer()]))

    def login(self, *arguments: str) -> Ran:
        return self.mushu("auth", "login", "--url", self.stub.url, *arguments)

    def is_stored(self) -> bool:
        return self.mushu("auth", "token", "--url", self.stub.url).stdout == f"{TOKEN}\n"


@pytest.fixture
def flow(mushu: Mushu, stub: Stub, patience: Patience) -> Flow:
    return Flow(mushu, stub, patience)


def test_a_login_shows_the_code_and_the_address_waits_and_stores_the_token(flow: Flow) -> None:
    flow.tell(PENDING, PENDING, login_answer())
    ran = flow.login().ok()
    assert "BCDF-GHJK" in ran.stderr
    assert f"{flow.stub.url}/activate\n" in ran.stderr
    assert ran.stdout == f"Logged in to {flow.stub.url} as ada@example.com, until 2026-01-15T22:30:00Z.\n"
    assert flow.patience.waited == [5, 5, 5]
    assert flow.is_stored()
    assert "dev_secret" not in ran.stdout + ran.stderr


def test_what_is_sent_is_what_rfc_8628_asks_for(flow: Flow) -> None:
    flow.tell()
    flow.login()
    start, ask = flow.stub.asked
    assert start.headers["content-type"] == ask.headers["content-type"] == "application/x-www-form-urlencoded"
    assert start.form["client_id"] == "mushu-cli"
    assert re.fullmatch(r"[^@]+@.+", start.form["client_name"])
    assert ask.form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "dev_secret",
        "client_id": "mushu-cli",
    }


@pytest.mark.parametrize(
    ("answers", "waited"),
    [([PENDING, SLOW, PENDING, SLOW], [2, 2, 7, 7, 12]), ([BROKEN, BROKEN], [2, 4, 8])],
    ids=["slow down", "broken"],
)
def test_slow_down_adds_five_seconds_for_good_and_a_connection_that_fails_doubles_the_pause(
    flow: Flow, answers: list[Told], waited: list[int]
) -> None:
    flow.tell(*answers, login_answer(), interval=2)
    assert flow.login().code == 0
    assert flow.patience.waited == waited


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("access_denied", "The login was refused in the browser."),
        ("expired_token", "The code has expired. Run `mushu auth login` again."),
        ("invalid_grant", "The code has expired. Run `mushu auth login` again."),
        ("invalid_client", "Who are you?"),
    ],
)
def test_each_end_that_is_no_login_has_its_sentence(flow: Flow, error: str, sentence: str) -> None:
    flow.tell(Told({"error": error, "error_description": "Who are you?"}, 400))
    flow.login().fails(sentence)
    assert not flow.is_stored()


def test_nobody_is_waited_for_longer_than_the_code_lives(flow: Flow) -> None:
    flow.tell(PENDING, expires_in=12)
    flow.login().fails("was not confirmed in time")
    assert flow.patience.waited == [5, 5]


def test_a_server_cannot_make_mushu_ask_without_a_pause_or_for_days(flow: Flow) -> None:
    flow.tell(PENDING, interval=0, expires_in=10)
    assert flow.login().code == 1
    assert set(flow.patience.waited) == {1}
    flow.patience.waited.clear()
    flow.tell(PENDING, interval=10**9, expires_in=10**9)
    assert flow.login().code == 1
    assert set(flow.patience.waited) == {60}
    assert sum(flow.patience.waited) == 3_600


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "file:///etc/passwd"},
        {"verification_uri_complete": "--new-window"},
        {"verification_uri_complete": "https://a\x1b]0;x\x07"},
        {"verification_uri_complete": "https://a b"},
        {"verification_uri_complete": 7},
        {"verification_uri": None},
        {"user_code": "\x1b[2J"},
        {"user_code": "x" * 33},
        {"user_code": None},
        {"device_code": None},
        {"interval": "5"},
        {"expires_in": -1},
    ],
    ids=str,
)
def test_an_invitation_that_is_not_fit_to_be_shown_or_opened_is_refused(
    flow: Flow, opened: list[str], monkeypatch: pytest.MonkeyPatch, changes: Any
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    flow.tell(**changes)
    assert "\x1b" not in flow.login().fails("not what this mushu understands").stderr
    assert opened == []


def test_the_browser_is_opened_where_there_is_a_display(
    flow: Flow, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.tell()
    flow.login()
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    flow.login("--no-browser")
    assert opened == []
    flow.login()
    assert opened == [f"{flow.stub.url}/activate?user_code=BCDF-GHJK"]


@pytest.mark.parametrize(
    ("platform", "environ", "opens"),
    [
        ("linux", {}, False),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "lynx"}, True),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "1"}, False),
    ],
)
def test_a_browser_is_tried_only_where_it_would_come_up_before_the_user(
    monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], opens: bool
) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr("sys.platform", platform)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert device_flow.can_open_browser() is opens


def test_an_account_without_a_name_can_log_in(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nameless)
    flow.tell()
    assert flow.login().code == 0
    assert flow.stub.asked[0].form["client_name"].startswith("unknown@")


@pytest.mark.parametrize(
    "answer",
    [
        login_answer() | {"access_token": "a\r\nX-Evil: 1"},
        login_answer() | {"access_token": None},
        login_answer() | {"access_token": "a" * 513},
        login_answer() | {"user": "ada"},
        login_answer() | {"user": {"user_id": "usr_1"}},
        login_answer() | {"expires_at": 5},
    ],
    ids=range(6),
)
def test_a_login_answer_of_the_wrong_shape_is_not_stored(flow: Flow, answer: Any) -> None:
    flow.tell(answer)
    flow.login().fails("not what this mushu understands")
    assert not flow.is_stored()


def test_a_login_at_a_real_server_is_confirmed_by_a_signed_in_user(
    served: Served, mushu: Mushu, patience: Patience, monkeypatch: pytest.MonkeyPatch, clock: TurnableClock
) -> None:
    """Against the server's own device flow, approved through its service as its page does."""
    user = served.world.user("ada@example.com", with_password=True)

    def approve_while_waiting(seconds: float) -> None:
        patience.waited.append(seconds)
        clock.turn(seconds=seconds + 1)
        if len(patience.waited) == 2:
            with writing(db.session):
                code = db.session.scalars(select(DeviceAuthorization.user_code)).one()
                decide(db.session, served.world.clock, user, code, approve=True)

    monkeypatch.setattr(patience, "sleep", approve_while_waiting)
    mushu("auth", "login").ok()
    assert len(patience.waited) == 2
    assert mushu("auth", "status").code == 0
    log_in(served.url, TOKEN)
    assert mushu("auth", "status").code == 1


@pytest.mark.fault
def test_a_browser_learns_no_key_says_nothing_and_keeps_nobody_waiting(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    browser, told = tmp_path / "browser", tmp_path / "told"
    look = f"env >{told}.new; readlink /proc/$$/fd/0 /proc/$$/fd/2 >>{told}.new"
    lines = ["#!/bin/sh", look, f"mv {told}.new {told}"]
    browser.write_text("\n".join([*lines, "sleep 3", f"touch {told}.ended", ""]))
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("MUSHU_SECRET_OF_MINE", "canary")
    flow.tell(verification_uri_complete=None)
    assert "In a browser, confirm the code" in flow.login().ok().stderr
    assert not told.with_suffix(".ended").exists(), "the browser still runs"
    end = time.monotonic() + 30
    while not told.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert "canary" not in told.read_text()
    assert told.read_text().endswith("/dev/null\n/dev/null\n")


@pytest.mark.fault
def test_without_a_browser_that_can_be_started_the_address_is_shown_all_the_same(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    flow.tell()
    assert "In a browser, confirm the code" in flow.login().ok().stderr
