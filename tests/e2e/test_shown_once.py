"""A key that is shown once, in a real browser: the ways in which others lost it, or let it leak."""

from typing import TYPE_CHECKING, Final

import pytest

from mushu.keyformat import CREDENTIAL_PATTERN
from tests.e2e.conftest import CHROMIUM, Server, Start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PASSWORD: Final = "correct horse battery"
OWNER: Final = "owner@localhost"


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    server = start_once().wait_until_up()
    said = server.flask("users", "set-password", OWNER, "--password-stdin", stdin=PASSWORD + "\n")
    assert said.returncode == 0, said.stderr
    return server


@pytest.fixture
def context(chromium: "Browser", server: Server) -> "BrowserContext":
    return signed_in(chromium, server, script=True)


def signed_in(chromium: "Browser", server: Server, *, script: bool) -> "BrowserContext":
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}", java_script_enabled=script)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto("/")
    page.get_by_label("E-mail").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/**")
    return context


def create(page: "Page", name: str) -> str:
    """Create a key as a person does, and return it."""
    page.goto("/")
    page.get_by_role("link", name="Keys", exact=True).first.click()
    page.get_by_role("link", name="Create a key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_text("Show it once").click()
    page.get_by_role("button", name="Create the key").click()
    page.wait_for_selector(".secret")
    return page.input_value(".secret")


def test_it_is_neither_lost_nor_left_behind(context: "BrowserContext", server: Server) -> None:
    page, asked = context.pages[0], list[str]()
    page.on("dialog", lambda dialog: _note(asked, dialog))
    key = create(page, "shown")
    assert CREDENTIAL_PATTERN.fullmatch(key)
    assert page.evaluate("document.activeElement.id") == "secret"
    chosen = "(() => { const f = document.activeElement; return f.value.slice(f.selectionStart, f.selectionEnd); })()"
    assert page.evaluate(chosen) == key, "what is copied by keyboard is the whole key and only the key"
    page.mouse.click(5, 500)  # beside it
    page.keyboard.press("Escape")
    assert page.input_value(".secret") == key
    page.evaluate("delete Navigator.prototype.clipboard")  # as over plain http
    page.get_by_role("button", name="Copy the key").click()
    page.wait_for_function("document.getElementById('copied').textContent === 'Copied.'")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<textarea id=paste></textarea>')")
    page.locator("#paste").focus()
    page.keyboard.press("Control+V")
    assert page.input_value("#paste") == key
    page.locator("#paste").evaluate("field => field.remove()")
    made = page.url
    page.evaluate("location.assign('/account')")  # by any link
    page.wait_for_url("**/account")
    assert asked == ["beforeunload"]
    storage = page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, document.cookie])")
    assert key not in storage + page.url + made
    assert key not in server.output.read_text()
    from playwright.sync_api import Error

    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # by the back button: no cache has it, and no form is restored
        page.go_back()


def test_the_way_out_says_what_happened_and_a_lost_key_is_deleted(context: "BrowserContext") -> None:
    page = context.pages[0]
    key = create(page, "stored")
    page.get_by_role("button", name="Done").click()  # the box is not ticked: the browser asks for it
    assert page.input_value(".secret") == key
    page.get_by_label("I have stored it").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url("**/keys/key_*")
    assert "stored" in page.inner_text("h1")
    assert key not in page.content()
    create(page, "lost")
    page.get_by_role("button", name="Delete this key").click()
    page.wait_for_url("**/keys")
    assert "lost is deleted." in page.inner_text("[role=status]")


def test_it_is_there_without_scripts_too_and_a_reload_makes_nothing(chromium: "Browser", server: Server) -> None:
    context = signed_in(chromium, server, script=False)
    page = context.pages[0]
    key = create(page, "unscripted")
    assert CREDENTIAL_PATTERN.fullmatch(key)
    answer = page.reload()
    assert answer is not None
    assert answer.status == 410
    assert "This key was shown already" in page.inner_text("h1")
    page.get_by_role("link", name="Open the keys").click()
    assert page.get_by_role("link", name="unscripted").count() == 1
    context.close()


def _note(asked: list[str], dialog: "Dialog") -> None:
    asked.append(dialog.type)
    dialog.accept()
