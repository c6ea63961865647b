"""The device flow from end to end over HTTP: a program, and a person at a browser."""

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mushu.server.users.models import User
from tests.conftest import TurnableClock
from tests.server.conftest import World, bearer
from tests.server.web.asking import SeparateClient
from tests.server.web.pages.browser import Browser

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Program:
    """What `mushu auth login` does."""

    def __init__(self, client: SeparateClient) -> None:
        self.client = client
        self.codes = client.post(
            "/auth/device/code", data={"client_id": "mushu-cli", "client_name": "ada@laptop"}
        ).get_json()

    def ask(self) -> TestResponse:
        form = {"grant_type": GRANT, "device_code": self.codes["device_code"], "client_id": "mushu-cli"}
        return self.client.post("/auth/token", data=form)

    def error(self) -> str:
        response = self.ask()
        assert response.status_code == 400
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.get_json()["error_description"].endswith(".")
        return str(response.get_json()["error"])


@pytest.fixture
def program(client: SeparateClient) -> Program:
    return Program(client)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


def test_it_works(program: Program, browser: Browser, user: User, world: World, clock: TurnableClock) -> None:
    codes = program.codes
    assert list(codes) == [
        "device_code",
        "user_code",
        "verification_uri",
        "verification_uri_complete",
        "expires_in",
        "interval",
    ]
    assert codes["verification_uri_complete"] == f"{codes['verification_uri']}?user_code={codes['user_code']}"
    assert (codes["expires_in"], codes["interval"]) == (600, 5)
    assert program.error() == "authorization_pending"

    path = codes["verification_uri_complete"].removeprefix("http://127.0.0.1:8000")
    assert browser.get(path).status_code == 303, "first they sign in"
    signed_in = browser.sign_in(user.email, world.password, browser.page.headers["Location"])  # type: ignore[union-attr]
    assert browser.get(signed_in.headers["Location"]).status_code == 200
    assert codes["user_code"] in browser.page.get_data(as_text=True)  # type: ignore[union-attr]
    shown = browser.submit("/activate", user_code=codes["user_code"]).get_data(as_text=True)
    assert "ada@laptop" in shown
    assert "127.0.0.1" in shown
    assert program.error() == "slow_down", "looking approves nothing"
    done = browser.submit("/activate/decision", user_code=codes["user_code"], decision="approve")
    assert "signed in" in done.get_data(as_text=True)

    clock.turn(seconds=20)
    token = program.ask().get_json()
    assert list(token) == ["access_token", "token_type", "expires_in", "expires_at", "user"]
    me = program.client.get("/users/me", headers=bearer(token["access_token"]))
    assert me.get_json()["user_id"] == user.id
    clock.turn(seconds=20)
    assert program.error() == "invalid_grant"


@pytest.mark.parametrize("decision", [{"decision": "deny"}, {}], ids=["deny", "anything but approve"])
def test_denied(program: Program, browser: Browser, user: User, world: World, decision: dict[str, str]) -> None:
    browser.sign_in(user.email, world.password)
    browser.get("/activate")
    browser.submit("/activate", user_code=program.codes["user_code"])
    page = browser.submit("/activate/decision", user_code=program.codes["user_code"], **decision)
    assert "Denied" in page.get_data(as_text=True)
    assert program.error() == "access_denied"


def test_expired(program: Program, browser: Browser, user: User, world: World, clock: TurnableClock) -> None:
    browser.sign_in(user.email, world.password)
    browser.get("/activate")
    clock.turn(minutes=10)
    response = browser.submit("/activate", user_code=program.codes["user_code"])
    assert (response.status_code, "No program waits" in response.get_data(as_text=True)) == (404, True)
    assert program.error() == "expired_token"


def test_nothing_is_approved_without_a_session_or_without_the_forms_token(
    program: Program, browser: Browser, user: User, world: World
) -> None:
    fields = {"user_code": program.codes["user_code"], "decision": "approve"}
    assert browser.client.post("/activate/decision", data=fields).status_code == 303
    browser.sign_in(user.email, world.password)
    assert browser.client.post("/activate/decision", data=fields).status_code == 422
    assert browser.client.get("/activate/decision", query_string=fields).status_code == 405
    assert program.error() == "authorization_pending"


def test_a_name_that_is_html_or_paints_is_shown_as_text(
    client: SeparateClient, browser: Browser, user: User, world: World
) -> None:
    name = "<script>alert(1)</script>\x1b[31m\u202e"
    code = client.post("/auth/device/code", data={"client_name": name}).get_json()["user_code"]
    browser.sign_in(user.email, world.password)
    browser.get("/activate")
    page = browser.submit("/activate", user_code=code).get_data(as_text=True)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_request"),
        ({"grant_type": GRANT, "device_code": "mdc_x"}, "invalid_grant"),
    ],
)
def test_a_request_that_is_wrong_gets_the_rfcs_error(client: SeparateClient, form: dict[str, str], error: str) -> None:
    response = client.post("/auth/token", data=form)
    assert (response.status_code, response.get_json()["error"]) == (400, error)
