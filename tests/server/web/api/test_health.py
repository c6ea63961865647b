"""Whether the server answers, told to everybody and asking nobody."""

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from mushu.server.core import db
from tests.server.web.asking import SeparateClient, answer, refusal


def test_it_works(client: SeparateClient) -> None:
    assert answer(client.get("/health")) == {"status": "ok"}


def test_a_broken_credential_does_not_matter(client: SeparateClient) -> None:
    headers = {"Authorization": "Basic nonsense", "X-API-Key": "\xff"}
    assert answer(client.get("/health", headers=headers)) == {"status": "ok"}


def test_it_answers_without_a_database(app: Flask, client: SeparateClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(db.session()), "begin", None)
    assert client.get("/health").status_code == 200


@pytest.mark.fault
@pytest.mark.database
def test_it_is_ready_only_while_the_database_answers(
    app: Flask, client: SeparateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(client.get("/ready", headers={"X-API-Key": "\xff"})) == {"status": "ready"}

    def refuse(*_: object) -> None:
        raise OperationalError("connect", None, Exception("connection refused by 10.0.0.7"))

    db.engine.dispose()
    event.listen(db.engine, "do_connect", refuse)
    with monkeypatch.context() as patched:
        patched.setattr("mushu.server.postgresql_waits._connection_class", refuse)  # it connects before `refuse` does
        told = refusal(client.get("/ready"), 503, "database_unavailable")["detail"]
        assert client.get("/health").status_code == 200, "a sign of life all the same"
    assert "flask doctor" in told
    assert "10.0.0.7" not in told
    event.remove(db.engine, "do_connect", refuse)
    assert client.get("/ready").status_code == 200


@pytest.mark.fault
@pytest.mark.database
@pytest.mark.parametrize(
    ("change", "way"),
    [
        ("UPDATE alembic_version SET version_num = '0009'", "flask database upgrade"),
        ("UPDATE alembic_version SET version_num = '9999'", "update the code"),
        ("DROP TABLE alembic_version", "never set up"),
    ],
)
def test_it_is_not_ready_with_another_schema(client: SeparateClient, change: str, way: str) -> None:
    with db.engine.begin() as connection:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.execute(text(change))
    assert way in refusal(client.get("/ready"), 503, "database_unavailable")["detail"]
    with db.engine.begin() as connection:  # on PostgreSQL the next test has the same database
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:found)"), {"found": found})
    assert client.get("/ready").status_code == 200
