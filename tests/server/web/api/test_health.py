"""Whether the server answers, told to everybody and asking nobody."""

import pytest
from flask import Flask

from mushu.server.core import db
from tests.server.web.asking import SeparateClient, answer


def test_it_works(client: SeparateClient) -> None:
    assert answer(client.get("/health")) == {"status": "ok"}


def test_a_broken_credential_does_not_matter(client: SeparateClient) -> None:
    headers = {"Authorization": "Basic nonsense", "X-API-Key": "\xff"}
    assert answer(client.get("/health", headers=headers)) == {"status": "ok"}


def test_it_answers_without_a_database(app: Flask, client: SeparateClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(db.session()), "begin", None)
    assert client.get("/health").status_code == 200
