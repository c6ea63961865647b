"""A key that a browser shows once, in a real one: ten ways in which others lost or leaked it.

The page is of a host without TLS, so that it has no API of the clipboard; that is how people meet it first.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.browsers import Browsers, browsers, server
from tests.e2e.conftest import CHROMIUM, NAMED_HOST, Server

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page, Route

__all__ = ["browsers", "server"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

_WHOLE: Final = re.compile(r"msk_live_[0-9A-Za-z]{28}")
_BUTTON: Final = "Create the key"


@pytest.fixture
def page(browsers: Browsers) -> Iterator["Page"]:
    with browsers.of(host=NAMED_HOST) as page:
        yield page


def fill(page: "Page", name: str) -> None:
    page.goto(page.url.partition("/dashboard/")[0])
    page.goto(re.sub(r"(/dashboard/\w+)/.*", r"\1/keys/new", page.url))
    page.get_by_label(re.compile("^Name")).fill(name)


def show(page: "Page", name: str) -> str:
    """Create a key that is shown, and return it."""
    fill(page, name)
    page.get_by_label(re.compile("Show it once")).check()
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.get_by_role("button", name=_BUTTON).click()
    assert answered.value.headers["cache-control"] == "no-store"
    page.wait_for_selector("#secret")
    return shown(page)


def shown(page: "Page") -> str:
    key = page.input_value("#secret")
    assert _WHOLE.fullmatch(key), key
    return key


def pasted(page: "Page") -> str:
    """Return what a paste puts into another page."""
    other = page.context.new_page()
    other.goto("/login", wait_until="commit")
    other.set_content("<textarea autofocus></textarea>")
    other.focus("textarea")
    other.keyboard.press("Control+V")
    text = other.input_value("textarea")
    other.close()
    return text


def test_a_key_that_is_shown_once_is_neither_lost_nor_left_behind(page: "Page", server: Server) -> None:
    asked: list[str] = []

    def stay(dialog: "Dialog") -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    said: list[str] = []
    page.on("dialog", stay)
    page.on("console", lambda message: said.append(message.text))
    key = show(page, "shown")
    assert page.evaluate("window.isSecureContext") is False
    page.wait_for_function("document.activeElement.id === 'secret' && document.activeElement.selectionEnd > 0")
    assert not said, "as that the focus was taken before the browser gave it"
    # 1, 2: a click beside it, and Esc.
    page.mouse.click(5, 400)
    page.keyboard.press("Escape")
    assert shown(page) == key
    # 3, 4, 5: no link leads away; the back button and a reload ask first.
    assert page.query_selector_all('a[href]:not([href^="#"])') == []
    page.evaluate("history.back()")
    page.wait_for_timeout(300)
    page.evaluate("location.reload()")
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"] * 2
    assert shown(page) == key
    # 6, 8, 9: the button copies the whole key and no more, without an API of the clipboard, and says so.
    page.get_by_role("button", name="Copy the key").click()
    page.wait_for_function("document.getElementById('copied').textContent === 'Copied.'")
    assert pasted(page) == key
    # 7: by keyboard.
    page.bring_to_front()
    page.focus("#secret")
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+C")
    assert pasted(page) == key
    # 10: nothing is left once it is done: not behind the back button, in storage, in a cache or in a restored form.
    page.get_by_label(re.compile("I have stored it")).check()
    page.get_by_role("button", name=re.compile("^Done")).click()
    page.wait_for_selector("h1")
    assert asked == ["beforeunload"] * 2
    assert key not in page.content()
    assert key not in server.output.read_text()
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    page.evaluate("history.back()")
    page.wait_for_timeout(500)
    assert key not in page.content()
    assert page.evaluate(
        "[...document.querySelectorAll('input, textarea')].every(field => !field.value.includes('msk_live_'))"
    )


def test_the_way_out_says_what_happened_and_a_lost_key_is_deleted(page: "Page") -> None:
    key = show(page, "stored")
    page.get_by_role("button", name="Done").click()  # the box is not ticked: the browser asks for it
    assert shown(page) == key
    page.get_by_label("I have stored it").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url("**/keys/key_*")
    assert "stored" in page.inner_text("h1")
    show(page, "lost")
    page.get_by_role("button", name="Delete this key").click()
    page.wait_for_url("**/keys")
    assert "lost is deleted." in page.inner_text("[role=status]")


def test_it_is_there_without_scripts_too_and_a_reload_makes_nothing(browsers: Browsers) -> None:
    with browsers.of(width=320, scheme="dark", script=False) as page:
        key = show(page, "unscripted")
        answer = page.reload()
        assert answer is not None
        assert answer.status == 410
        assert key not in page.content()
        assert "This key was shown already" in page.inner_text("h1")
        page.get_by_role("link", name="Open the keys").click()
        assert page.get_by_role("link", name="unscripted").count() == 1


def test_where_a_destination_is_chosen_no_byte_of_the_key_reaches_the_browser(
    browsers: Browsers, server: Server
) -> None:
    place = server.instance.parent / "places" / "mailer-env" / ".env"
    told: list[bytes] = []

    def note(route: "Route") -> None:
        answer = route.fetch(max_redirects=0)
        told.extend([str(answer.headers).encode(), (route.request.post_data or "").encode(), answer.body()])
        route.fulfill(response=answer)

    with browsers.of() as page:
        page.route("**", note)
        fill(page, "delivered")
        page.get_by_label(re.compile("^mailer-env")).check()
        page.get_by_role("button", name=_BUTTON).click()
        page.wait_for_url("**/delivered")
        page.goto(page.url.removesuffix("/delivered"))
    key = _WHOLE.search(place.read_text())
    assert key is not None
    assert b"".join(told).count(b"delivered") > 3, "it has seen what was sent"
    assert not [text for text in told if key[0].encode() in text or _WHOLE.search(text.decode("latin-1"))]
