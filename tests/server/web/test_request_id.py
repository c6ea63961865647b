"""Each answer names its request, and so does what is logged meanwhile."""

import io
import json
from collections.abc import Iterator

import pytest
from flask import Flask

from mushu.server.web.proxy_headers import REQUEST_ID as HEADER
from tests.server.logged import caught
from tests.server.web.asking import SeparateClient
from tests.server.web.conftest import House


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    yield from caught(monkeypatch, "INFO")


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/users/me", "/orgs?x=1", "/sign-in"])
def test_every_answer_has_an_id_of_its_own(house: House, path: str) -> None:
    ids = {house.client.get(path).headers[HEADER] for _ in range(2)}
    assert all(len(one) == 32 for one in ids)
    assert len(ids) == 2


@pytest.mark.parametrize("sent", ["8f14e45f-ceea-467f-a8e1-1f8f3c1f4b1d", "Root=1-67891233-abcdef012345678912345678"])
def test_that_of_a_proxy_is_taken(house: House, sent: str) -> None:
    assert house.client.get("/health", headers={HEADER: sent}).headers.get_all(HEADER) == [sent]


@pytest.mark.parametrize("sent", ["", "short", "x" * 129, "a b c d e f g", '{"a": "12345678"}', "msk_live_" + "a" * 28])
def test_what_is_not_well_formed_is_not_repeated(house: House, sent: str) -> None:
    assert house.client.get("/health", headers={HEADER: sent}).headers[HEADER] != sent


def test_what_is_logged_meanwhile_names_it(app: Flask, client: SeparateClient, log: io.StringIO) -> None:
    @app.get("/fails")
    def fails() -> str:
        raise RuntimeError("broken")

    from mushu.server.web.guard import public

    public(app.view_functions["fails"])
    response = client.get("/fails", headers={HEADER: "proxy-12345678"})
    assert (response.status_code, response.headers[HEADER]) == (500, "proxy-12345678")
    app.logger.warning("afterwards")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line.get("request_id") for line in lines] == ["proxy-12345678", None]
