"""Links, redirects and cookies follow the setting, and nothing that a request says of where it was sent."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from flask import Flask, Response, jsonify, redirect, request, url_for
from werkzeug import Response as BaseResponse

from mushu.destination import Surroundings, open_destination
from mushu.server.core import Core, db
from mushu.server.web.guard import public
from tests.conftest import TurnableClock
from tests.server.conftest import World, quiet_app, settings_on
from tests.server.web.asking import SeparateClient
from tests.server.web.pages.browser import Browser

PUBLIC: Final = "https://keys.example.com"
EVIL: Final = "evil.example"
#: CVE-2026-49468, CVE-2026-35051 and their kin.
HOSTILE: Final = {
    "Host": EVIL,
    "X-Forwarded-Host": EVIL,
    "X_Forwarded_Host": EVIL,
    "X-Forwarded-Proto": "ftp",
    "X_Forwarded_Proto": "ftp",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Scheme": "ftp",
    "X-Forwarded-Ssl": "off",
    "X-Original-Host": EVIL,
    "Forwarded": f"host={EVIL};proto=ftp",
}


@pytest.fixture
def behind(tmp_path: Path, database_template: str | Path, clock: TurnableClock) -> Iterator[tuple[Flask, World]]:
    settings = replace(settings_on(tmp_path / "instance", database_template), public_url=PUBLIC)
    core = Core(settings, clock, lambda uri: open_destination(uri, Surroundings(tmp_path)))
    app = quiet_app(core)
    with app.app_context():
        yield app, World(clock, core)
        db.session.remove()
        db.engine.dispose()


@pytest.mark.fault
def test_what_flask_says_of_the_address_is_the_setting(behind: tuple[Flask, World]) -> None:
    app, _ = behind

    @app.get("/told")
    @public
    def told() -> Response:
        return jsonify(
            url=request.url,
            root=request.url_root,
            host=request.host,
            base=request.base_url,
            secure=request.is_secure,
            external=url_for("told", _external=True),
            forwarded=[name for name, _ in request.headers if "forward" in name.lower()],
        )

    @app.get("/away")
    @public
    def away() -> BaseResponse:
        return redirect(url_for("told", _external=True))

    client = SeparateClient(app)
    assert client.get("/told", headers=HOSTILE).get_json() == {
        "url": f"{PUBLIC}/told",
        "root": f"{PUBLIC}/",
        "host": "keys.example.com",
        "base": f"{PUBLIC}/told",
        "secure": True,
        "external": f"{PUBLIC}/told",
        "forwarded": [],
    }
    assert client.get("/away", headers=HOSTILE).headers["Location"] == f"{PUBLIC}/told"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", marks=pytest.mark.fault),
        "//evil.example",
        "//evil.example/..",
        "/login",
        "/",
        "/docs/",
        "/health/",
    ],
)
def test_no_answer_leads_to_the_host_that_a_request_names(behind: tuple[Flask, World], path: str) -> None:
    app, _ = behind
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        response = SeparateClient(app).open(
            "/", method=method, headers=HOSTILE, environ_overrides={"PATH_INFO": path, "HTTP_HOST": EVIL}
        )
        location = response.headers.get("Location", "/")
        assert location.startswith(("/", f"{PUBLIC}/")), location
        assert not location.startswith("//")
        if not path:
            assert EVIL not in str(response.headers)


def test_what_is_answered_does_not_change_with_the_host(behind: tuple[Flask, World]) -> None:
    app, world = behind
    client, token = SeparateClient(app), world.token(world.user())
    for path in ("/openapi.json", "/docs", "/login", "/users/me"):
        headers = {"Authorization": f"Bearer {token}"} if path == "/users/me" else {}
        answers = [client.get(path, headers=headers | sent).get_data(as_text=True) for sent in ({}, HOSTILE)]
        assert EVIL not in answers[1]
        if path != "/login":  # its form holds a token of its own
            assert answers[0] == answers[1]
    code = client.post("/auth/device/code", data={"client_id": "x"}, headers=HOSTILE).get_json()
    assert code["verification_uri"] == f"{PUBLIC}/activate"


def test_cookies_are_secure_because_the_setting_says_https(behind: tuple[Flask, World]) -> None:
    app, world = behind
    user, browser = world.user(with_password=True), Browser(app)
    browser.client.environ_base.update(HTTP_X_FORWARDED_PROTO="http", HTTP_HOST=EVIL)
    response = browser.sign_in(user.email, world.password)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    cookies = {cookie.partition("=")[0]: cookie for cookie in response.headers.getlist("Set-Cookie")}
    assert cookies.keys() == {"__Host-mushu", "__Host-mushu-known"}
    for cookie in cookies.values():
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
