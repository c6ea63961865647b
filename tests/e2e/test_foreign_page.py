"""A page of another origin, in a real browser: it uploads to an address that its backend asked for, and no more."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import CHROMIUM, Server, Start
from tests.e2e.test_media import announce, confirm

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

TEXT = "Hello, Mushu."
UPLOAD = """async ([url, text]) => {
  const answer = await fetch(url, {method: 'PUT', headers: {'Content-Type': 'text/plain'}, body: text});
  return [answer.status, await answer.json()];
}"""
READ = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return [answer.status, await answer.text()];
  } catch (error) {
    return error.name;
  }
}"""
REFUSED = "TypeError"


class _Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Shop</title>")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that another server sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Shop) as shop:
        threading.Thread(target=shop.serve_forever).start()
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{shop.server_port}/")
        yield page
        context.close()
        shop.shutdown()


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    return start_once().wait_until_up()


def test_a_page_uploads_and_downloads_with_signed_addresses_and_reads_why_one_is_refused(
    server: Server, page: Page
) -> None:
    announced = announce(server, len(TEXT), "text/plain")
    wrong = announced["upload_url"].partition("signature=")[0] + "signature=" + "0" * 64
    status, problem = page.evaluate(UPLOAD, [wrong, TEXT])
    assert (status, problem["code"]) == (403, "link_not_valid")
    assert page.evaluate(UPLOAD, [announced["upload_url"], TEXT])[0] == 200
    confirmed = confirm(server, announced)
    assert page.evaluate(READ, [confirmed["url"], {}]) == [200, TEXT]
    assert page.evaluate(READ, [confirmed["url"], {"credentials": "include"}]) == REFUSED
    assert page.evaluate(READ, [confirmed["url"], {"headers": {"Authorization": f"ApiKey {server.key}"}}]) == REFUSED
    assert page.evaluate(READ, [confirmed["url"], {"method": "DELETE"}]) == REFUSED


def test_it_reads_nothing_else_with_a_key_or_without(server: Server, page: Page) -> None:
    key, here = server.key, f"http://127.0.0.1:{server.port}"
    for path in ("/health", "/openapi.json", "/orgs", "/login", "/media/org/x"):
        assert page.evaluate(READ, [here + path, {}]) == REFUSED
        assert page.evaluate(READ, [here + path, {"headers": {"X-API-Key": key}}]) == REFUSED
    assert page.evaluate(READ, [f"{here}/media/upload-url", {"method": "POST", "body": "{}"}]) == REFUSED
