"""A database that was filled at revision 0005 goes through every later migration, on SQLite and on PostgreSQL.

What is missing today is applied as a start applies it, so a new migration is covered without a change here. A column or
rows that one takes away on purpose stand in `INTENDED`, with the reason.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

from mushu.environment import Environment
from mushu.keyformat import Prefix
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import MIGRATIONS, Core, context_for, core_context, db
from mushu.server.db import reading
from mushu.server.delivery.reconciler import Verdict
from mushu.server.errors import (
    DeletedCredential,
    DisabledCredential,
    ExpiredCredential,
    InactiveCredential,
    Unauthenticated,
)
from mushu.server.gate import KeyPrincipal, UserPrincipal
from mushu.server.gate.credential import Credential
from mushu.server.gate.principal import authenticate
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.operation.upgrading.migrations import migration_transaction, pending_migrations
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy
from mushu.server.sealing import faults, sealed_values
from tests.conftest import TurnableClock
from tests.server.conftest import api_key, bearer, quiet_app
from tests.server.operation.upgrading import filled
from tests.server.operation.upgrading.test_migrations import add_migration

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

#: `table` or `table.column` that a migration takes away or changes on purpose, and why.
INTENDED: Final[Mapping[str, str]] = {
    "login_throttles": "0008: failures are counted by network; those of whole IPv6 addresses are dropped",
}

#: Table, then primary key, then column.
Content = dict[str, dict[tuple[object, ...], dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder with the `.env` files: what had arrived before, and what had not."""
    found = tmp_path / "services"
    found.mkdir()
    for name, key_id in (("arrived", "key_arrived"), ("handed", "key_handednew"), ("mid", "key_midold")):
        path = found / f"{name}.env"
        path.write_text(f"MUSHU_API_KEY={filled.key_of(key_id, 'live')}\n")
        path.chmod(0o600)
    return found


@pytest.fixture
def at_0005(core: Core, folder: Path) -> Iterator[Content]:
    """The core's app context on the filled database, before any later migration; and what is in it."""
    core.settings.instance_path.mkdir(mode=0o700)
    core.settings.sealing_keys_path.write_text(filled.sealing_keys())
    core.settings.sealing_keys_path.chmod(0o600)
    with core_context(lambda: core.settings):
        with migration_transaction(db.engine) as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, filled.REVISION)
            filled.load(connection, folder)
            before = content(connection)
        yield before


@pytest.fixture
def upgraded(at_0005: Content, core: Core) -> Content:
    """The same after the upgrade of a start; what was in it before."""
    upgrade_with_copy(core)
    assert pending_migrations() == []
    return at_0005


def content(connection: Connection) -> Content:
    """Return every row of every table."""
    found: Content = {}
    for table in set(inspect(connection).get_table_names()) - {"alembic_version"}:
        names = inspect(connection).get_pk_constraint(table)["constrained_columns"]
        rows = connection.execute(text(f'SELECT * FROM "{table}"')).mappings()
        found[table] = {tuple(row[name] for name in names): dict(row) for row in rows}
    return found


def content_now() -> Content:
    with db.engine.connect() as connection:
        return content(connection)


def losses(before: Content, after: Content) -> list[str]:
    """Return what is not there any more, or not as it was: one entry for each table or column."""
    lost: set[str] = set()
    for table, rows in before.items():
        there = after.get(table, {})
        if set(rows) - set(there):
            lost.add(table)
        for identity in set(rows) & set(there):
            now = there[identity]
            lost |= {
                f"{table}.{name}" for name, value in rows[identity].items() if name not in now or now[name] != value
            }
    return sorted(lost)


def credential(text_of_it: str, *, is_key: bool = True) -> Credential:
    return Credential(Secret(text_of_it), is_key)


def test_the_database_holds_something_of_everything(at_0005: Content) -> None:
    assert [table for table, rows in at_0005.items() if not rows] == []
    assert len(at_0005) >= 21
    assert len(at_0005["api_keys"]) > filled.MANY
    columns = {f"{table}.{name}" for table, rows in at_0005.items() for row in rows.values() for name in row}
    given = {
        f"{table}.{name}"
        for table, rows in at_0005.items()
        for row in rows.values()
        for name, value in row.items()
        if value is not None
    }
    assert columns - given == set(), "every column has a value somewhere"
    assert {row["state"] for row in at_0005["deliveries"].values()} == {
        "pending", "delivered", "verified", "failed", "replaced", "removed"
    }  # fmt: skip
    assert {row["state"] for row in at_0005["api_keys"].values()} == set(State) - {State.EXPIRED}


def test_no_plaintext_is_in_the_file() -> None:
    assert filled.SQL.stat().st_size < 200_000
    for prefix in Prefix:
        assert prefix not in filled.SQL.read_text()


def test_nothing_is_lost_and_nothing_is_changed(upgraded: Content) -> None:
    assert [lost for lost in losses(upgraded, content_now()) if lost not in INTENDED] == []


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ("op.execute(\"DELETE FROM login_throttles WHERE subject LIKE 'account:%'\")", ["login_throttles"]),
        ("op.drop_table('key_uses')", ["key_uses"]),
        ("op.execute('UPDATE media SET size_bytes = 1')", ["media.size_bytes"]),
        ("op.drop_column('api_keys', 'confirm_by')", ["api_keys.confirm_by"]),
        ("op.add_column('users', sa.Column('x', sa.Text()))\nop.create_table('y', sa.Column('id', sa.Integer()))", []),
    ],
    ids=["rows", "a table", "values", "a column", "nothing"],
)  # fmt: skip
def test_a_migration_that_loses_something_is_found_out(
    upgraded: Content, core: Core, migrations: Path, body: str, lost: list[str]
) -> None:
    add_migration(migrations, "9998", body)
    before = content_now()
    upgrade_with_copy(core)
    assert losses(before, content_now()) == lost


_REFUSED: Final[Mapping[str, type[Unauthenticated]]] = {
    "disabled": DisabledCredential,
    "revoked": DeletedCredential,
    "failed": DeletedCredential,
    "pending": InactiveCredential,
    "expired": ExpiredCredential,
    "over": DeletedCredential,
}


def test_each_of_many_keys_opens_what_it_did(upgraded: Content, clock: TurnableClock) -> None:
    wrong: list[str] = []
    with reading(db.session):
        for key in filled.many_keys():
            expected: object = _REFUSED.get(key.condition)
            if expected is None:
                scopes = tuple(Scope(name) for name in key.scopes.split(","))
                expected = KeyPrincipal(key.id, "org_aaaaaaaaaaaa", Environment(key.environment), scopes)
            try:
                good = authenticate(db.session, clock, credential(key.key)) == expected
            except Unauthenticated as error:
                good = type(error) is expected
            if not good:
                wrong.append(f"{key.id} ({key.condition})")
    assert wrong == []


def test_cli_tokens_open_what_they_did(upgraded: Content, clock: TurnableClock) -> None:
    with reading(db.session):
        found = authenticate(db.session, clock, credential(token("tok_aaaaaaaaaaaa"), is_key=False))
        assert isinstance(found, UserPrincipal)
        assert found.user_id == "usr_aaaaaaaaaaaa"
        for name, error in (("b", DeletedCredential), ("c", ExpiredCredential), ("d", DisabledCredential)):
            with pytest.raises(error):
                authenticate(db.session, clock, credential(token(f"tok_aaaaaaaaaaa{name}"), is_key=False))


def token(token_id: str) -> str:
    return filled.plaintext(Prefix.CLI_TOKEN, token_id)


def test_the_whole_server_answers_as_it_did(upgraded: Content, core: Core) -> None:
    app = quiet_app(core)
    client, live, test = app.test_client(), filled.key_of("key_plain", "live"), filled.key_of("key_sandbox", "test")
    acme, globex = "/orgs/org_aaaaaaaaaaaa", "/orgs/org_aaaaaaaaaaab"
    asked = (
        (f"{acme}/tenants", api_key(live), 200),
        (f"/sandbox{acme}/tenants", api_key(live), 403),
        (f"/sandbox{acme}/tenants", api_key(test), 200),
        (f"{acme}/tenants", api_key(test), 403),
        (f"{acme}/api-keys", api_key(live), 403),
        (f"/sandbox{acme}/api-keys", api_key(test), 200),
        (f"{globex}/tenants", api_key(live), 404),
        (f"{globex}/tenants", api_key(filled.key_of("key_other", "live")), 200),
        (f"{acme}/tenants", api_key(filled.key_of("key_ofdeleted", "live")), 401),
        (f"{acme}/tenants", api_key(filled.key_of("key_handedold", "live")), 200),
        (f"{acme}/api-keys", bearer(token("tok_aaaaaaaaaaaa")), 200),
    )
    answers = [(path, client.get(path, headers=headers).status_code) for path, headers, _ in asked]
    assert answers == [(path, status) for path, _, status in asked]
    listed = client.get(f"{acme}/tenants", headers=api_key(live)).get_json()
    assert [tenant["bundle_id"] for tenant in listed["tenants"]] == ["com.example.shop"]
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_what_was_sealed_opens(upgraded: Content, core: Core) -> None:
    with reading(db.session):
        assert faults(db.session, core.sealing_keys) == []
        ring = core.sealing_keys.load()
        opened = [ring.unseal(value.sealed, value.context) for value in sealed_values(db.session)]
    assert len(opened) == 3
    assert all("filled at 0005" in value for value in opened)


def test_deliveries_and_the_rotation_under_way_go_on(upgraded: Content, core: Core, clock: TurnableClock) -> None:
    clock.turn(hours=1)
    with db.engine.begin() as connection:  # each of those would be retired by itself, which is tested with one
        ended = "UPDATE api_keys SET state = 'revoked' WHERE id LIKE 'key_many%' AND retires_at IS NOT NULL"
        connection.execute(text(ended))
    context = replace(context_for(SYSTEM), clock=clock)
    found = {finding.key_id: finding.verdict for finding in keep_house(context)}
    few = db.select(ApiKey).where(~ApiKey.id.like("key_many%"))
    with reading(db.session):
        states = {key.id: key.stored_state for key in db.session.scalars(few)}
    assert (found["key_arrived"], states["key_arrived"]) == (Verdict.ACTIVATED, State.ACTIVE)
    # They are nowhere to be seen, but their deliveries are from before the ledger said where that was.
    assert (found["key_midnew"], states["key_midnew"]) == (Verdict.UNREACHABLE, State.PENDING)
    assert (found["key_lost"], states["key_lost"]) == (Verdict.UNREACHABLE, State.PENDING)
    assert states["key_client"] == State.FAILED
    assert (found["key_handedold"], states["key_handedold"]) == (Verdict.RETIRED, State.REVOKED)
    assert states["key_handednew"] == State.ACTIVE
    assert states["key_midold"] == State.ACTIVE
    assert (states["key_waitold"], states["key_waitnew"]) == (State.RETIRING, State.ACTIVE)
