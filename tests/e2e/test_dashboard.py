"""The dashboard in a real browser: every page that a link leads to, at each width, light and dark, without script, too.

The pages are found by their links, so a new page is looked at without a line here. Each is looked at by axe, and must
fit into its window, load nothing from elsewhere, and break no rule of its own Content-Security-Policy.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.e2e.conftest import CHROMIUM, Server, Start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

Scheme = Literal["dark", "light"]
PASSWORD: Final = "correct horse battery"
OWNER: Final = "owner@localhost"
#: Width, scheme, and whether scripts run.
LOOKS: Final[tuple[tuple[int, "Scheme", bool], ...]] = (
    (320, "dark", True),
    (768, "light", False),
    (1440, "light", True),
)
HOSTILE: Final = "<script>alert(1)</script> مرحبا 🎉 '\"&amp;"
#: Links that do something, or lead out of the dashboard.
_PASSED_OVER: Final = re.compile(r"/static/|/docs|\.csv|cursor=|/login")
#: What Chromium guesses of a form with several passwords: the settings of a destination are none of a person.
_GUESS: Final = "Multiple forms should be contained in their own form elements"
_ID: Final = re.compile(r"\b[a-z]{3}_[a-z2-7]{12}\b")
_KEY_ID: Final = re.compile(r"\bkey_[a-z2-7]{12}\b")


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    server = start_once().wait_until_up()
    said = server.flask("users", "set-password", OWNER, "--password-stdin", stdin=PASSWORD + "\n")
    assert said.returncode == 0, said.stderr
    ids: dict[str, str] = {}
    for name in ("billing-worker", HOSTILE, "x" * 200, "disable", "delete"):
        to = f"env:{server.instance.parent / f'{len(ids)}.env'}#KEY"
        made = server.flask("keys", "create", "--org", "default", "--name", name, "--to", to)
        assert made.returncode == 0, made.stderr
        ids[name] = _KEY_ID.findall(made.stdout + made.stderr)[0]
    for command in (["disable", ids["disable"]], ["delete", ids["delete"], "--yes"]):
        done = server.flask("keys", *command)
        assert done.returncode == 0, done.stderr
    return server


@contextmanager
def signed_in(
    chromium: "Browser", server: Server, width: int, scheme: "Scheme", script: bool, host: str = "127.0.0.1"
) -> Iterator["Page"]:
    context = chromium.new_context(
        base_url=f"http://{host}:{server.port}", viewport={"width": width, "height": 800},
        color_scheme=scheme, java_script_enabled=script, reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto("/")
    page.get_by_label("E-mail").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/**")
    yield page
    context.close()


def links_of(page: "Page") -> list[str]:
    """Return where the page leads within the server; where it narrows a list, by one thing at most."""
    found = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
    own = [urlsplit(link) for link in found if link.startswith(f"{urlsplit(page.url).scheme}://127.0.0.1")]
    found = [f"{link.path}?{link.query}" for link in own if "&" not in link.query]
    return [address for address in found if not _PASSED_OVER.search(address)]


def kind_of(address: str) -> str:
    """Return what stands for all pages that differ in an id only, or in what they are filtered by."""
    path, _, query = address.partition("?")
    return f"{_ID.sub('ID', path)}?{query.partition('=')[0]}"


def find_pages(page: "Page") -> dict[str, str]:
    """Follow all links, and return one address of each kind of page."""
    found: dict[str, str] = {}
    ahead = [urlsplit(page.url).path + "?", "/account?", "/outbox?"]
    while ahead:
        address = ahead.pop()
        if kind_of(address) in found:
            continue
        found[kind_of(address)] = address
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, f"{address}: {answer.status}"
        ahead += links_of(page)
    return found


def test_each_page_is_whole_at_each_width_in_both_schemes_with_and_without_script(
    chromium: "Browser", server: Server
) -> None:
    faults: list[str] = []
    with signed_in(chromium, server, 1440, "light", True) as page:
        pages = find_pages(page)
    assert any(kind.startswith("/dashboard/ID/sandbox") for kind in pages)
    for width, scheme, script in LOOKS:
        with signed_in(chromium, server, width, scheme, script) as page:
            watch(page, server, faults)
            for address in pages.values():
                page.goto(address)
                at = f"{address} at {width} px, {scheme}"
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                faults += [f"{at}: {wide} px wider than the window"] if wide > 0 else []
                headings = len(page.query_selector_all("h1"))
                faults += [f"{at}: {headings} headings of the first level"] if headings != 1 else []
                if script:
                    faults += [f"{at}: {fault}" for fault in violations(page)]
    assert not faults, "\n".join(["", *faults])


def watch(page: "Page", server: Server, faults: list[str]) -> None:
    """Note what a page must not do: say something on the console, fail, ask, or load something from elsewhere."""
    page.on("console", lambda said: faults.extend(said_of(page, said.text)))
    page.on("pageerror", lambda error: faults.append(f"{page.url} fails: {error}"))
    page.on("dialog", lambda dialog: faults.append(f"{page.url} asks {dialog.message}"))
    page.on("request", lambda asked: faults.extend(elsewhere(server, asked.url)))


def said_of(page: "Page", text: str) -> list[str]:
    return [] if _GUESS in text else [f"{page.url} says {text}"]


def violations(page: "Page") -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {', '.join(str(node['target']) for node in fault['nodes'][:3])}" for fault in found]


def elsewhere(server: Server, url: str) -> list[str]:
    return [] if url.startswith((f"http://127.0.0.1:{server.port}/", "data:")) else [f"loads {url}"]
