"""An older database was put back: whatever verb comes first, by whichever door, what had been deleted is deleted again.

And what the verb asks for the deleted key itself is refused: it gets no successor, and works for nobody again.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import select

from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import context_for, db
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.delete import delete
from tests.server.commands.conftest import Run, run
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient
from tests.server.web.endpoints import Stage

__all__ = ["run"]  # the fixture

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]  # elsewhere, no file is copied back


@dataclass
class Restored:
    """A server whose database is older than its journal."""

    client: SeparateClient
    run: Run
    stage: Stage
    #: A key that was deleted, and is active in the database that came back.
    gone: str
    #: Its plaintext.
    plaintext: str
    #: Another key of the same organization, which nobody deleted.
    key: str

    def http(self, method: str, path: str, body: object = None, *, key: str | None = None) -> int:
        path = path.format(org=self.stage.org, key=key or self.key, pending=self.stage.pending_key)
        return self.client.open(path, method=method, json=body, headers=self.stage.headers).status_code

    def flask(self, *arguments: str, key: str | None = None) -> int:
        words = [argument.format(org=self.stage.org, key=key or self.key) for argument in arguments]
        return self.run(*words).code


@pytest.fixture
def restored(app: Flask, world: World, client: SeparateClient, run: Run, tmp_path: Path) -> Restored:
    stage = Stage(world)
    gone, plaintext = world.key(stage.organization, *Scope)
    restored = Restored(client, run, stage, gone.id, plaintext, world.key(stage.organization)[0].id)
    _ = stage.headers, stage.pending_key, stage.tenant
    database, older = str(db.engine.url.database), tmp_path / "older"
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(older)) as copy:
        live.backup(copy)
        delete(context_for(SYSTEM), restored.gone)
        copy.backup(live)
    db.session.remove()
    assert state(restored.gone) == "active"
    return restored


def state(key_id: str) -> str:
    with reading(db.session):
        return get_key(db.session, key_id).stored_state


Ask = Callable[[Restored], int]
_KEYS: Final = "/orgs/{org}/api-keys"
_PROOF: Final = {"place": "env:/a#K"}

#: Every verb at every door, about a key that nobody deleted.
VERBS: Final[dict[str, Ask]] = {
    "issue, HTTP": lambda it: it.http("POST", _KEYS, {"name": "k"}),
    "issue for a tenant, HTTP": lambda it: it.http("POST", f"/tenants/{it.stage.tenant}/api-keys", {"name": "k"}),
    "issue, command": lambda it: it.flask("keys", "create", "--org", "{org}", "--name", "k", "--show-once"),
    "rotate, HTTP": lambda it: it.http("POST", _KEYS + "/{key}/rotate", {}),
    "rotate, command": lambda it: it.flask("keys", "rotate", "{key}", "--show-once"),
    "rotate what is due, command": lambda it: it.flask("keys", "rotate", "--due", "--org", "{org}"),
    "confirm, HTTP": lambda it: it.http(
        "POST", _KEYS + "/{pending}/delivered", {"deliveries": [_PROOF | {"digest": it.stage.pending_key_row.digest}]}
    ),
    "rename, HTTP": lambda it: it.http("PATCH", _KEYS + "/{key}", {"name": "other"}),
    "disable, HTTP": lambda it: it.http("POST", _KEYS + "/{key}/disable"),
    "disable, command": lambda it: it.flask("keys", "disable", "{key}"),
    "delete, HTTP": lambda it: it.http("DELETE", _KEYS + "/{key}"),
    "delete, command": lambda it: it.flask("keys", "delete", "{key}", "--yes"),
    "delete the organization, HTTP": lambda it: it.http("DELETE", "/orgs/{org}"),
    "delete the organization, command": lambda it: it.flask("orgs", "delete", "{org}", "--yes"),
    "maintain, command": lambda it: it.flask("keys", "reconcile"),
}

#: What may be asked for the deleted key.
REFUSED: Final[dict[str, Ask]] = {
    "rotate, HTTP": lambda it: it.http("POST", _KEYS + "/{key}/rotate", {}, key=it.gone),
    "rotate, command": lambda it: it.flask("keys", "rotate", "{key}", "--show-once", key=it.gone),
    "rename, HTTP": lambda it: it.http("PATCH", _KEYS + "/{key}", {"name": "other"}, key=it.gone),
    "disable, HTTP": lambda it: it.http("POST", _KEYS + "/{key}/disable", key=it.gone),
    "enable, HTTP": lambda it: it.http("POST", _KEYS + "/{key}/enable", key=it.gone),
    "enable, command": lambda it: it.flask("keys", "enable", "{key}", key=it.gone),
    "delete, HTTP": lambda it: it.http("DELETE", _KEYS + "/{key}", key=it.gone),
    "delete, command": lambda it: it.flask("keys", "delete", "{key}", "--yes", key=it.gone),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_journal_is_followed_before_every_verb_at_every_door(restored: Restored, verb: str) -> None:
    assert VERBS[verb](restored) in (0, 200)
    assert state(restored.gone) == "revoked"
    with reading(db.session):
        events = select(AuditEvent.actor_kind).where(AuditEvent.target_id == restored.gone)
        deleted = db.session.scalars(events.where(AuditEvent.action == "key.deleted")).all()
    assert deleted == [SYSTEM.kind], "the system deleted it again, not who came next"


@pytest.mark.parametrize("verb", REFUSED)
def test_the_deleted_key_itself_is_given_nothing(restored: Restored, verb: str) -> None:
    assert REFUSED[verb](restored) in (1, 404)
    assert state(restored.gone) == "revoked"
    with reading(db.session):
        assert not db.session.scalars(select(Rotation)).all()
        assert db.session.get_one(ApiKey, restored.gone).name == "k"


def test_a_deleted_key_that_asks_for_a_verb_ends_before_it_is_done(restored: Restored) -> None:
    path = f"/orgs/{restored.stage.org}/api-keys/{restored.key}"
    asked = restored.client.delete(path, headers=api_key(restored.plaintext))
    assert asked.status_code == 401
    assert (state(restored.gone), state(restored.key)) == ("revoked", "active")
