"""A post office over a scripted destination, and promises that hold in every test of this folder without being named.

During every call of a destination no transaction is open, and afterwards no plaintext is in the database.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from mushu.server import schema
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import prepare_engine, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.reconciler import Finding, Reconciler
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import delete, delete_org
from mushu.server.orgs.service import create_org
from mushu.server.resources import RESOURCES
from mushu.server.users.service import create_user
from tests.conftest import TurnableClock
from tests.server.delivery.shelf import Shelf
from tests.server.verbs import issue_to

LEASE: Final = timedelta(seconds=60)
#: The name of the properties in which `test_crash.py` reports at which step a process was killed, and what came of it.
MATRIX: Final = "crash matrix"
#: Long enough that nothing arrives any more.
LONG_AFTER: Final = timedelta(hours=1)


@dataclass
class Post:
    """One process: a session of its own, on the database and the shelf that all share."""

    engine: Engine
    clock: TurnableClock
    shelf: Shelf
    org_id: str = ""
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = Session(self.engine, autobegin=False, expire_on_commit=False)

    def another(self) -> "Post":
        """Another process at work at the same time."""
        return replace(self, pauses=[])

    def found_org(self) -> str:
        with writing(self.session):
            owner = create_user(self.session, self.clock, SYSTEM, "alice@example.com")
            self.org_id = create_org(self.session, self.clock, SYSTEM, "acme", owner.id).id
        return self.org_id

    def context(self) -> Context:
        return Context(self.session, self.clock, SYSTEM, self.shelf.open, LEASE, self.pause)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.turn(seconds=seconds)

    def deliver(self, *uris: str, force: bool = False) -> ApiKey:
        return issue_to(self.context(), KeyRequest(org_id=self.org_id, name="backend"), uris, force=force)[0]

    def reconcile(self) -> list[Finding]:
        return Reconciler(self.session, self.clock, SYSTEM, self.shelf.open).settle_all()

    def verdicts(self) -> list[str]:
        return [str(found.verdict) for found in self.reconcile()]

    def delete(self, key_id: str, *, keep_value: bool = False) -> list[Finding]:
        return delete(self.context(), key_id, keep_value=keep_value)[1]

    def delete_org(self) -> list[Finding]:
        return delete_org(self.context(), self.org_id, RESOURCES.on_org_deleted)

    def only_key(self) -> ApiKey:
        with reading(self.session):
            return self.session.scalars(select(ApiKey).execution_options(populate_existing=True)).one()

    def all_keys(self) -> list[ApiKey]:
        with reading(self.session):
            query = select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)
            return list(self.session.scalars(query.execution_options(populate_existing=True)))

    def state(self, key_id: str) -> str:
        with reading(self.session):
            return get_key(self.session, key_id).stored_state

    def rows(self, key_id: str) -> list[Delivery]:
        with reading(self.session):
            return list(ledger.list_deliveries(self.session, [key_id]))

    def states(self, key_id: str) -> list[str]:
        return [row.state for row in self.rows(key_id)]

    def under_way(self, uri: str) -> Delivery | None:
        with reading(self.session):
            return ledger.find_under_way(self.session, uri, "")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def post(settings: Settings, clock: TurnableClock, shelf: Shelf) -> Iterator[Post]:
    engine = create_engine(settings.sqlalchemy_url)
    prepare_engine(engine)
    post = Post(engine, clock, shelf)
    post.found_org()
    shelf.on_call = lambda call: _must_be_free(engine, call)
    yield post
    _must_hold_no_plaintext(engine, shelf.seen)
    engine.dispose()


def _must_be_free(engine: Engine, call: str) -> None:
    """No transaction is held across a call of a destination, neither here nor by whoever looks from outside."""
    assert engine.pool.checkedout() == 0, call  # type: ignore[attr-defined]
    if engine.dialect.name == "sqlite":
        other = sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()


def _must_hold_no_plaintext(engine: Engine, seen: set[str]) -> None:
    with engine.connect() as connection:
        rows = [row for table in schema.metadata.sorted_tables for row in connection.execute(select(table))]
    assert not [plaintext for plaintext in seen if plaintext in repr(rows)]
    if engine.dialect.name == "sqlite":
        database = Path(str(engine.url.database))
        stored = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
        assert not [plaintext for plaintext in seen if plaintext.encode() in stored]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == MATRIX and getattr(report, "when", "") == "call"
    ]
    if lines:
        terminalreporter.write_sep("=", MATRIX)
    for line in lines:
        terminalreporter.write_line(str(line))
