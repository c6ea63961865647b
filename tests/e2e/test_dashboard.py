"""The dashboard in a real browser: every page that a link leads to, at each width, light and dark, without script, too.

The pages are found by their links, so a new page is looked at without a line here. Each is looked at by axe, and must
fit into its window, load nothing from elsewhere, and break no rule of its own Content-Security-Policy.
"""

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from dotenv import dotenv_values

from tests.e2e import hostile
from tests.e2e.browsers import Browsers, Scheme, browsers, org_of, server
from tests.e2e.conftest import CHROMIUM, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["browsers", "server"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

#: Width, scheme, and whether scripts run.
LOOKS: Final[tuple[tuple[int, Scheme, bool], ...]] = (
    (320, "dark", True),
    (768, "light", False),
    (1440, "light", True),
)
#: Links that do something, or lead out of the dashboard.
_PASSED_OVER: Final = re.compile(r"/static/|/docs|\.csv|cursor=|/login")
#: What Chromium guesses of a form with several passwords: the settings of a destination are none of a person.
_GUESS: Final = "Multiple forms should be contained in their own form elements"
_ID: Final = re.compile(r"\b[a-z]{3}_[a-z2-7]{12}\b|(?<=/destinations/)[a-z-]+|(?<=/policies/)[a-z-]+")


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


def find_pages(page: "Page", *first: str) -> dict[str, str]:
    """Follow all links, and return one address of each kind of page, of these where they are of one."""
    found: dict[str, str] = {}
    ahead = [urlsplit(page.url).path + "?", "/account?", "/outbox?", *first]
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
    browsers: Browsers, server: Server
) -> None:
    faults: list[str] = []
    with browsers.of(agent=hostile.SCRIPT) as page:
        page.goto(f"/dashboard/{org_of(page)}/keys?search=%3Cscript")
        first = [address for address in links_of(page) if "/keys/key_" in address]
        assert len(first) == 3, "a key, the one that takes its place, and their rotation"
        pages = find_pages(page, *first)
        notify(server)
    assert any(kind.startswith("/dashboard/ID/sandbox") for kind in pages)
    assert "/dashboard/ID/keys/ID/rotation?" in pages
    shown = ""
    for width, scheme, script in LOOKS:
        with browsers.of(width=width, scheme=scheme, script=script) as page:
            watch(page, server, faults)
            for address in pages.values():
                if "/sandbox/" in address and not script:
                    continue  # it is another page in its colours alone, which have no part in this
                page.goto(address)
                at = f"{address} at {width} px, {scheme}"
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                faults += [f"{at}: {wide} px wider than the window"] if wide > 0 else []
                headings = len(page.query_selector_all("h1"))
                faults += [f"{at}: {headings} headings of the first level"] if headings != 1 else []
                if script:
                    faults += [f"{at}: {fault}" for fault in violations(page)]
                shown += page.inner_text("main")
    for text in (
        hostile.NAME,
        hostile.EMAIL,
        f"2{hostile.EMAIL}",
        hostile.NAME[:100],
        f"{hostile.SCRIPT}%20مرحبا/.env",
    ):
        assert text in shown
    assert not faults, "\n".join(["", *faults])


def notify(server: Server) -> None:
    """Have a hostile notification recorded."""
    place = server.instance.parent / "places" / f"{hostile.SCRIPT} مرحبا" / ".env"
    headers = {"Authorization": f"ApiKey {dotenv_values(place)['MUSHU_API_KEY']}"}
    status, tenant = server.ask("POST", "/tenants", {"bundle_id": "com.example.shop"}, headers)
    assert status == 200, tenant
    at = f"/tenants/{tenant['tenant_id']}"
    device = {"user_id": hostile.NAME[:100], "token": "74" * 32, "platform": "ios"}
    assert server.ask("POST", f"{at}/devices", device, headers)[0] < 300
    alert = {"title": hostile.NAME, "body": hostile.NAME * 4}
    sent = server.ask("POST", f"{at}/notify", {"user_id": hostile.NAME[:100], "alert": alert}, headers)
    assert sent[1]["success"], sent


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
