"""Numbers that the dashboard shows equal what a client counted itself, over four workers and a restart."""

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from script.pictures.seed import PASSWORD
from tests.e2e.browsers import Browsers, org_of
from tests.e2e.conftest import CHROMIUM, Server, Start, status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@dataclass
class Client:
    """What was sent with a key, by what was answered, and from where."""

    key: str
    org: str
    sent: Counter[tuple[int, str]] = field(default_factory=Counter)
    #: When the last request was sent and answered.
    last: tuple[datetime, datetime] = (datetime.min.replace(tzinfo=UTC),) * 2

    def ask(self, server: Server, address: str, good: int, refused: int) -> None:
        """Send each request on a connection of its own, so that all workers get some."""
        for path in ["/orgs"] * good + [f"/orgs/{self.org}/api-keys"] * refused:
            before = datetime.now(UTC)
            connection = HTTPConnection("127.0.0.1", server.port, timeout=10, source_address=(address, 0))
            answered = status(connection, path, {"X-API-Key": self.key})
            connection.close()
            self.sent[answered, address] += 1
            self.last = before.replace(microsecond=0), datetime.now(UTC)


def test_what_is_shown_is_what_a_client_counted(start: Start, chromium: "Browser") -> None:
    server = start("--workers", "4", MUSHU_OWNER_EMAIL="alice@example.com").wait_until_up()
    said = server.flask("users", "set-password", "alice@example.com", "--password-stdin", stdin=PASSWORD + "\n")
    assert said.returncode == 0, said.stderr
    place = server.instance.parent / "counted.env"
    made = server.flask(
        "keys", "create", "--org", "default", "--name", "counted", "--scopes", "read", "--to", f"env:{place}#KEY"
    )
    assert made.returncode == 0, made.stderr
    key = str(dotenv_values(place)["KEY"])
    orgs = server.ask("GET", "/orgs", headers={"X-API-Key": key})[1]["orgs"]
    client = Client(key, orgs[0]["org_id"], Counter({(200, "127.0.0.1"): 1}))
    assert len(server.workers) >= 4
    client.ask(server, "127.0.0.1", good=0, refused=7)
    time.sleep(2.5)  # a worker that ends before it added up, in a second, may take the reasons with it, and no number
    client.ask(server, "127.0.0.1", good=24, refused=0)
    client.ask(server, "127.0.0.2", good=11, refused=0)
    server.stop()
    server = start("--workers", "4").wait_until_up()
    client.ask(server, "127.0.0.1", good=3, refused=5)
    client.ask(server, "127.0.0.2", good=13, refused=4)
    refused = sum(count for (answered, _), count in client.sent.items() if answered == 403)
    used = client.sent.total()  # what lacks a scope is a use, too
    assert (used, refused) == (68, 16)
    with Browsers(chromium, server).of() as page:
        assert org_of(page) == client.org
        end = time.monotonic() + 20
        while f"{used} requests" not in (home := text_of(page)) and time.monotonic() < end:
            page.reload()  # what was counted in the last second is added up
        assert f"{used} requests" in home
        assert f"{refused} refused, on a scale of their own" in home
        page.get_by_role("link", name="Keys", exact=True).click()
        shown = text_of(page)
        assert f"{used} requests in 24 hours by 2 keys" in shown
        assert f"{used}, {refused} refused" in shown
        is_last(page, client, "td.used")
        assert "127.0.0.2" in page.inner_text("td.used")
        page.get_by_role("link", name="counted").click()
        shown = text_of(page)
        assert f"{used} requests" in shown
        assert re.search(rf"missing_scope {refused} (now|(a|\d+) \w+ ago) 127\.0\.0\.2 ", shown), shown
        addresses = page.locator("section[aria-labelledby=from] tbody th").all_inner_texts()
        assert addresses == ["127.0.0.2", "127.0.0.1"]
        is_last(page, client, "section[aria-labelledby=from] tbody tr:first-child td:nth-child(2)")


def text_of(page: "Page") -> str:
    return " ".join(page.inner_text("main").split())


def is_last(page: "Page", client: Client, cell: str) -> None:
    told = datetime.fromisoformat(str(page.locator(f"{cell} time").first.get_attribute("datetime")))
    assert client.last[0] <= told <= client.last[1]
