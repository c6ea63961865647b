"""A server that is filled, and the browsers of its people: each of them signs in once for all tests of a module."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from script.pictures.seed import OWNER, PASSWORD
from tests.e2e.conftest import Server, Start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["dark", "light"]


@dataclass
class Browsers:
    """Windows on one server, by who is signed in there."""

    chromium: "Browser"
    server: Server
    #: Cookies by who has them, and of which host.
    signed_in: dict[tuple[str, str], Any] = field(default_factory=dict)

    @contextmanager
    def of(
        self, email: str = OWNER, width: int = 1440, scheme: Scheme = "light", *, script: bool = True,
        host: str = "127.0.0.1", agent: str | None = None,
    ) -> Iterator["Page"]:  # fmt: skip
        """Open a window of somebody, at the page where a browser begins."""
        context = self.chromium.new_context(
            base_url=f"http://{host}:{self.server.port}", viewport={"width": width, "height": 800}, user_agent=agent,
            color_scheme=scheme, java_script_enabled=script, reduced_motion="reduce",
            storage_state=self.signed_in.get((email, host)),
        )  # fmt: skip
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto("/")
        if (email, host) not in self.signed_in:
            page.get_by_label("E-mail").fill(email)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/dashboard**")
            self.signed_in[email, host] = context.storage_state()
        yield page
        context.close()


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    """Months of use, and every text that others write is hostile."""
    return start_once(filled_by="tests.e2e.hostile").wait_until_up()


@pytest.fixture(scope="module")
def browsers(chromium: "Browser", server: Server) -> Browsers:
    return Browsers(chromium, server)


def org_of(page: "Page") -> str:
    """Return the id of the organization whose page this is."""
    return page.url.partition("/dashboard/")[2].partition("/")[0]
