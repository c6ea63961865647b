"""Every answer, good or bad, of the API or for people, tells browsers and caches to keep out of it."""

import pytest

from tests.server.web.asking import SeparateClient
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

ANSWERS = {
    "a success": ("GET", "/health"),
    "a page": ("GET", "/docs"),
    "the document": ("GET", "/openapi.json"),
    "a page that is gone": ("GET", "/password/x"),
    "no such address": ("GET", "/nothing"),
    "not that method": ("DELETE", "/health"),
    "no credential": ("GET", "/users/me"),
    "a foreign organization": ("GET", "/orgs/org_a"),
    "no JSON": ("POST", "/auth/login"),
    "options": ("OPTIONS", "/orgs"),
    "head": ("HEAD", "/orgs"),
}


@pytest.mark.parametrize(("method", "path"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("signed_in", [True, False])
def test_every_answer_carries_them(house: House, stage: Stage, method: str, path: str, signed_in: bool) -> None:
    response = house.client.open(path, method=method, headers=stage.headers if signed_in else {})
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_crash_carries_them_too(client: SeparateClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("mushu.server.web.pages.reference._groups")
    response = client.get("/docs")
    assert response.status_code == 500
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Security-Policy"] == POLICY


def test_a_static_file_may_be_kept_but_not_reinterpreted(house: House) -> None:
    response = house.client.get("/static/app.css")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == POLICY
