"""The browser login of the published client: only to this computer, only after consent."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask

from mushu.server.users.models import User
from tests.server.conftest import World, bearer
from tests.server.web.pages.browser import Browser

pytestmark = pytest.mark.unmeasured

PATH = "/auth/apple/authorize?redirect_uri="
HERE = PATH + "http://localhost:8123/callback"


def test_it_works(browser: Browser, user: User) -> None:
    page = browser.get(HERE)
    assert "localhost:8123" in page.get_data(as_text=True)
    assert "form-action 'self' http://localhost:8123;" in page.headers["Content-Security-Policy"]
    back = browser.submit(HERE, decision="approve")
    target = urlsplit(back.headers["Location"])
    assert (back.status_code, target.netloc, target.path) == (303, "localhost:8123", "/callback")
    answer = parse_qs(target.query)
    assert answer["access_token"] == answer["refresh_token"]
    me = browser.client.get("/users/me", headers=bearer(answer["access_token"][0]))
    assert me.get_json()["user_id"] == user.id


def test_denied_goes_back_without_a_token(browser: Browser) -> None:
    browser.get(HERE)
    answer = parse_qs(urlsplit(browser.submit(HERE, decision="deny").headers["Location"]).query)
    assert answer["error"] == ["access_denied"]
    assert "access_token" not in answer


def test_a_query_of_the_program_is_kept(browser: Browser) -> None:
    address = PATH + "http%3A%2F%2F127.0.0.1%3A9%2Fcb%3Fstate%3Dx"
    browser.get(address)
    location = browser.submit(address, decision="approve").headers["Location"]
    assert location.startswith("http://127.0.0.1:9/cb?state=x&access_token=mct_")


def test_who_is_not_signed_in_signs_in_first_and_comes_back(app: Flask, user: User, world: World) -> None:
    browser = Browser(app)
    login = browser.get(HERE).headers["Location"]
    back = browser.sign_in(user.email, world.password, login)
    assert browser.get(back.headers["Location"]).status_code == 200
    assert "localhost:8123" in browser.page.get_data(as_text=True)  # type: ignore[union-attr]


#: None of these is an address of a program on this computer, in the one form that is taken.
WRONG = [
    "", "/callback", "http://localhost/callback", "https://localhost:1/", "http://evil.example:80/",
    "http://localhost.evil.example:1/", "http://localhost@evil.example:1/", "http://user@localhost:1/",
    "http://localhost:1@evil.example/", "http://127.0.0.1.evil.example:1/", "http://2130706433:1/",
    "http://localhost:99999/", "http://localhost:1/#fragment", "http://[::1/",
    "javascript://localhost:1/%0aalert(1)", "http://localhost:1/\r\nSet-Cookie: a=b",
    "http://localhost:1\\@evil.example/", "http://[::1] https://evil.example:80/", "http://[::1,evil.example]:80/",
    "http://[::1%25;sandbox]:80/", "http://localhost:80;frame-ancestors *;/", "http://localhost:1/\u202etxt.exe",
    "http://localhost:\u0661\u0662/", "http://[::ffff:127.0.0.1]:1/", "http://0.0.0.0:1/", "http://127.1:1/",
    "http://localhost:1/\n", "http://[::1]; frame-ancestors *; x:80/",
    "http://[::1];script-src 'unsafe-inline' *;:80/", "http://localhost:1/cb;frame-ancestors *",
    "http://localhost:1/<script>", 'http://localhost:1/"onload=x', "http://localhost:1//evil.example/",
    "http://localhost:1/\u0660", "http://localhost:0/", "http://LOCALHOST:1/", "HTTP://localhost:1/",
    "http://localhost:1/?a=b;frame-ancestors *", "http://localhost:1/?access_token=of-somebody-else",
    "http://localhost:1/?x=y&error=access_denied", " http://localhost:1/", f"http://localhost:1/{'a/' * 999}",
]  # fmt: skip


@pytest.mark.fault
def test_no_token_leaves_this_computer_and_nothing_of_a_stranger_is_written_into_a_header(browser: Browser) -> None:
    answers = []
    for address in WRONG:
        answers.append((address, browser.get(PATH + quote(address, safe=""))))
        browser.get("/account")
        answers.append((address, browser.submit(PATH + quote(address, safe=""), decision="approve")))
    for address, answer in answers:
        assert answer.status_code in (400, 422), address
        assert "Location" not in answer.headers, address
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )


@pytest.mark.parametrize(
    ("address", "origin", "rebuilt"),
    [
        ("http://[0:0::1]:8123/cb", "http://[::1]:8123", "http://[::1]:8123/cb?"),
        ("http://127.0.0.1:08123", "http://127.0.0.1:8123", "http://127.0.0.1:8123?"),
        ("http://127.1.2.3:1/a/b/", "http://127.1.2.3:1", "http://127.1.2.3:1/a/b/?"),
        ("http://localhost:1/cb?s=%0d%0aa&t=", "http://localhost:1", "http://localhost:1/cb?s=%0D%0Aa&t=&"),
    ],
)
@pytest.mark.fault
def test_what_is_written_is_built_anew_from_its_parts(
    browser: Browser, address: str, origin: str, rebuilt: str
) -> None:
    path = PATH + quote(address, safe="")
    page = browser.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert f"form-action 'self' {origin}; base-uri" in policy
    assert policy.count(";") == 4
    assert browser.submit(path, decision="approve").headers["Location"].startswith(f"{rebuilt}access_token=mct_")
