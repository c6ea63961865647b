"""What a server needs is taken away while it serves: nothing passes that is not known to be good, and no key is bad."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE
from mushu.server.orgs.service import get_org
from mushu.server.read_connections import ReadConnections
from mushu.server.web.extensions import recorder_of
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient, problem_of

pytestmark = pytest.mark.sqlite
TakeAway = Callable[[Path], None]


def unlink_all(folder: Path) -> None:
    for file in folder.glob("mushu.sqlite3*"):
        file.unlink()


def unlink_one(folder: Path) -> None:
    (folder / "mushu.sqlite3").unlink()


def move(folder: Path) -> None:
    (folder / "mushu.sqlite3").rename(folder / "moved")


def replace(folder: Path) -> None:
    (folder / "another").write_bytes(b"This is no database. " * 1_000)
    (folder / "another").rename(folder / "mushu.sqlite3")


def every_question(client: SeparateClient, org_id: str, key: str) -> list[TestResponse]:
    """Ask about a key in each way."""
    headers = api_key(key)
    return [
        client.get("/forward-auth/reports", headers=headers),
        client.get(f"/orgs/{org_id}", headers=headers),
        client.get(f"/orgs/{org_id}/tenants", headers=headers),
        client.post("/api-keys/validate", json={"key": key}),
        client.post("/api-keys/verify", json={"key": key}, headers=headers),
        client.post("/oauth/introspect", data={"token": key}, headers=headers),
    ]


@pytest.fixture
def asked(app: Flask, client: SeparateClient, world: World) -> tuple[str, str, str]:
    """The ids of an organization and of its key, and the key."""
    org = world.org()
    with writing(db.session):
        add_policy(db.session, world.clock, SYSTEM, PolicyRequest(name="reports", scope=Scope.READ, org_id=org.id))
    key, text = world.key(org)
    db.session.remove()
    return org.id, key.id, text


@pytest.mark.fault
@pytest.mark.parametrize("with_wal", [True, False])
@pytest.mark.parametrize("take_away", [unlink_all, unlink_one, move, replace])
def test_without_its_database_a_server_lets_nothing_pass_and_calls_no_key_bad(
    client: SeparateClient, world: World, monkeypatch: pytest.MonkeyPatch, take_away: TakeAway, with_wal: bool,
    asked: tuple[str, str, str],
) -> None:  # fmt: skip
    org_id, _, key = asked
    folder = world.core.settings.instance_path
    monkeypatch.setattr("mushu.server.gate.cache._LOOK", 0)
    if not with_wal:
        db.engine.dispose()
        event.listen(db.engine, "connect", lambda made, _: made.execute("PRAGMA journal_mode=DELETE"))
    assert [answer.status_code for answer in every_question(client, org_id, key)] == [200] * 6
    assert (folder / "mushu.sqlite3-wal").exists() == with_wal
    take_away(folder)
    for _ in range(2):
        for answer in every_question(client, org_id, key):
            assert answer.status_code == 503, answer.text
            assert problem_of(answer)["code"] == "database_unavailable"
            assert key not in answer.text


@pytest.mark.fault
def test_what_was_read_of_a_database_is_not_said_of_the_next_one(
    client: SeparateClient, world: World, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str, str]
) -> None:
    """Both have an empty log, so the headers of their wal-indexes are equal."""
    org_id, key_id, key = asked
    database = world.core.settings.instance_path / "mushu.sqlite3"
    monkeypatch.setattr("mushu.server.gate.cache._LOOK", 0)
    db.engine.dispose()  # the last connection empties the log
    another = database.with_name("another")
    shutil.copy(database, another)
    with sqlite3.connect(another) as edited:
        edited.execute("UPDATE api_keys SET state = 'revoked' WHERE id = ?", (key_id,))
    edited.close()
    for _ in range(2):
        assert [answer.status_code for answer in every_question(client, org_id, key)] == [200] * 6
    database.with_name("mushu.sqlite3-wal").unlink()
    database.with_name("mushu.sqlite3-shm").unlink()
    another.rename(database)
    for _ in range(2):
        answers = every_question(client, org_id, key)
        assert {answer.status_code for answer in answers if answer.status_code != 200} == {401}
        assert [answer.get_json() for answer in answers if answer.status_code == 200] == [
            answers[3].get_json() | {"valid": False}
        ]


@pytest.mark.fault
@pytest.mark.usefixtures("client")
def test_a_connection_in_use_while_all_are_closed_is_not_kept() -> None:
    reads = ReadConnections(db.engine)
    event.listen(db.engine, "connect", lambda made, _: made.create_function("dispose", 0, db.engine.dispose))
    reads.fetch("SELECT 1", [])
    assert len(reads._idle) == 1
    db.engine.dispose()
    reads.fetch("SELECT dispose()", [])
    assert not reads._idle
    db.engine.dispose()


def unlink_usage(folder: Path) -> None:
    for file in folder.glob("mushu-usage.sqlite3*"):
        file.unlink()


def replace_usage(folder: Path) -> None:
    unlink_usage(folder)
    (folder / "mushu-usage.sqlite3").write_bytes(b"This is no database. " * 1_000)


@pytest.mark.parametrize("take_away", [unlink_usage, replace_usage])
def test_without_its_usage_store_a_server_knows_good_keys_from_bad_ones(
    app: Flask, client: SeparateClient, world: World, take_away: TakeAway, asked: tuple[str, str, str]
) -> None:
    org_id, key_id, key = asked
    with reading(db.session):
        org = get_org(db.session, org_id)
    admin = world.key(org, Scope.ADMIN)[1]
    every_question(client, org_id, key)
    recorder_of(app).flush()
    take_away(world.core.settings.instance_path)
    for _ in range(2):
        assert [answer.status_code for answer in every_question(client, org_id, key)] == [200] * 6
        recorder_of(app).flush()
    told = client.get(f"/orgs/{org_id}/api-keys/{key_id}/usage", headers=api_key(admin))
    if take_away is replace_usage:
        assert (told.status_code, "flask doctor" in problem_of(told)["detail"]) == (503, True)
    else:
        assert told.status_code == 200
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, key_id, DELETE)
    statuses = [answer.status_code for answer in every_question(client, org_id, key)]
    assert statuses == [401, 401, 401, 200, 401, 401]
