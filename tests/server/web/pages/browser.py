"""A person at a browser: keeps cookies, fills forms in with the token that the page holds."""

import re
from html import unescape

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.server.web.asking import SeparateClient

_HIDDEN = re.compile(r'<input[^>]*name="([^"]+)"[^>]*type="hidden"[^>]*value="([^"]*)"')


class Browser:
    """One browser window."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = SeparateClient(app)
        self.page: TestResponse | None = None

    def get(self, path: str) -> TestResponse:
        self.page = self.client.get(path)
        return self.page

    def submit(self, path: str, **fields: str) -> TestResponse:
        """Send the form of the page that is open, with what it hides."""
        assert self.page is not None
        hidden = {name: unescape(value) for name, value in _HIDDEN.findall(self.page.get_data(as_text=True))}
        assert "csrf_token" in hidden, "this page has no form with a token"
        self.page = self.client.post(path, data=hidden | fields)
        return self.page

    def sign_in(self, email: str, password: str, path: str = "/login") -> TestResponse:
        self.get(path)
        return self.submit(path, email=email, password=password)
