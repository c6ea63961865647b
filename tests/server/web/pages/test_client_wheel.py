"""The index of packages: our own code under our name, the hash that the terminal shows, and nothing of the disk."""

import hashlib
from dataclasses import replace
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from flask import Flask

from mushu.server.core import Core, db
from mushu.server.operation import first_run
from mushu.server.operation.client_wheel import client_wheel
from tests.server.conftest import quiet_app, settings_on
from tests.server.web.asking import SeparateClient, refusal
from tests.server.web.conftest import House


def test_it_offers_what_the_terminal_names(house: House) -> None:
    (line,) = [line for line in first_run.prepare(house.world.core) if line.startswith("client")]
    address = line.split("'")[1]
    path, _, sha256 = address.removeprefix("http://127.0.0.1:8000").partition("#sha256=")
    assert path == "/client/mushu-1.0.0-py3-none-any.whl"
    assert hashlib.sha256(house.client.get(path).get_data()).hexdigest() == sha256
    for page in ("/client/mushu/", "/client/mushu"):
        assert f'<a href="{address}" data-requires-python="&gt;=3.11">' in house.client.get(page).get_data(as_text=True)
    assert 'href="http://127.0.0.1:8000/client/mushu/"' in house.client.get("/client/").get_data(as_text=True)


@pytest.fixture
def _unread() -> None:
    client_wheel.cache_clear()


@pytest.mark.usefixtures("_unread")
def test_it_was_read_when_the_application_was_made(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PathDistribution, "read_text", None)
    assert SeparateClient(app).get("/client/mushu/").status_code == 200


def test_it_is_only_read_and_starts_no_session(house: House) -> None:
    for path in ("/client/", "/client/mushu/", "/client/mushu-1.0.0-py3-none-any.whl"):
        head = house.client.head(path)
        assert (head.status_code, head.get_data()) == (200, b"")
        assert "Set-Cookie" not in head.headers
        for method in ("POST", "PUT", "DELETE"):
            refusal(house.client.open(path, method=method), 405, "method_not_allowed")


def test_other_projects_are_asked_for_elsewhere_and_no_spelling_of_ours_is(house: House) -> None:
    response = house.client.get("/client/flask-openapi/")
    assert (response.status_code, response.location) == (302, "https://pypi.org/simple/flask-openapi/")
    for name in ["Mushu", "MUSHU", "mushu.", "-mushu", "mushu%0a", "..", "%2e%2e", "a_b", "mushu-9.whl", "ｍushu"]:
        response = house.client.get(f"/client/{name}/")
        assert response.status_code == 404, name
        assert response.location is None


@pytest.mark.parametrize(
    "path", ["../setup.cfg", "..%2fsetup.cfg", "x.whl", "mushu-1.0.1-py3-none-any.whl", "/etc/x.whl"]
)
def test_no_path_leads_to_a_file(house: House, path: str) -> None:
    refusal(house.client.get(f"/client/{path}"), 404, "not_found")


@pytest.mark.parametrize(
    ("public_url", "status"),
    [("http://keys.example.com", 404), ("http://0.0.0.0:8000", 404), ("https://keys.example.com/mushu", 200)],
)
def test_over_plain_http_from_another_machine_it_is_not_offered(
    tmp_path: Path, database_template: str | Path, public_url: str, status: int
) -> None:
    settings = replace(settings_on(tmp_path / "instance", database_template), public_url=public_url)
    app = quiet_app(Core(settings))
    client = SeparateClient(app)
    for path in ("/client/", "/client/mushu/", "/client/flask/", "/client/mushu-1.0.0-py3-none-any.whl"):
        response = client.get(path)
        assert response.status_code == (302 if status == 200 and "flask" in path else status)
        assert status == 200 or "https" in refusal(response, 404, "not_found")["detail"]
    with app.app_context():
        said = [line.split()[0] for line in first_run.prepare(app.extensions["mushu"])]
        db.session.remove()
        db.engine.dispose()
    wheel = client_wheel()
    assert wheel is not None
    assert ("client" in said) == (status == 200)
    assert status == 404 or wheel.address(public_url) in client.get("/client/mushu/").get_data(as_text=True)
