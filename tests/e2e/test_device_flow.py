"""`mushu auth login` in a terminal, approved in a real browser (Chromium, driven by Playwright)."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import CHROMIUM, Server, Start, clean_environment

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def server(start: Start) -> Server:
    server = start().wait_until_up()
    done = server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin=PASSWORD + "\n")
    assert '"status": "active"' in done.stdout
    return server


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}", viewport={"width": 320, "height": 640})
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


class Terminal:
    """A waiting `mushu auth login`."""

    def __init__(self, server: Server, tmp_path: Path) -> None:
        home = tmp_path / "terminal-home"
        home.mkdir()
        self.environment = clean_environment(home, MUSHU_URL=f"http://127.0.0.1:{server.port}", NO_COLOR="1")
        self.output = tmp_path / "terminal"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mushu.cli.main", "auth", "login", "--no-browser"],
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def code(self) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = re.search(r"\b([BCDFGHJ-NP-TV-XZ]{4}-[BCDFGHJ-NP-TV-XZ]{4})\b", self.output.read_text())
            if found:
                return found.group(1)
            time.sleep(0.05)
        pytest.fail(f"no code was shown:\n{self.output.read_text()}")

    def ended(self) -> int:
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mushu.cli.main", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(server, tmp_path)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()


def sign_in(page: Page) -> None:
    """With the keyboard alone."""
    page.get_by_label("E-mail").focus()
    page.keyboard.type("owner@localhost")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")


def test_approved_the_waiting_command_ends_with_the_token_stored(page: Page, terminal: Terminal) -> None:
    code = terminal.code()
    page.goto(f"/activate?user_code={code}")
    sign_in(page)
    page.get_by_role("button", name="Continue").click()
    assert page.locator(".user-code").inner_text() == code
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "nothing stands out at 320 pixels"
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="Your terminal is signed in").wait_for()
    assert terminal.ended() == 0, terminal.output.read_text()
    assert "mct_" not in terminal.output.read_text()
    status = terminal.run("auth", "status")
    assert (status.returncode, "owner@localhost" in status.stdout + status.stderr) == (0, True)
    page.goto("/account")
    page.get_by_role("region", name="Your terminals").get_by_role("button", name="Sign out").click()
    page.get_by_text("No terminal is signed in").wait_for()
    assert terminal.run("org", "list").returncode == 1, "signed out on the page is signed out in the terminal"


def test_denied_the_waiting_command_fails_and_stores_nothing(page: Page, terminal: Terminal) -> None:
    page.goto(f"/activate?user_code={terminal.code()}")
    sign_in(page)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Deny").click()
    page.get_by_role("heading", name="Denied").wait_for()
    assert terminal.ended() == 1
    assert "refused in the browser" in terminal.output.read_text()
    assert terminal.run("auth", "token").returncode == 1


def test_a_code_works_once_and_nothing_needs_javascript(chromium: Browser, server: Server, terminal: Terminal) -> None:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}", java_script_enabled=False)
    page = context.new_page()
    code = terminal.code()
    for expected in ("Your terminal is signed in", "No program waits for this code"):
        page.goto("/activate")
        if page.get_by_label("E-mail").count():
            sign_in(page)
        page.get_by_label("Code").fill(code.lower().replace("-", " "))
        page.get_by_role("button", name="Continue").click()
        if page.get_by_role("button", name="Approve").count():
            page.get_by_role("button", name="Approve").click()
        page.get_by_text(expected).wait_for()
    assert terminal.ended() == 0
    context.close()
