"""Test is test, at its one place: whatever a session does, it does in its environment."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Executable,
    Select,
    String,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    true,
    tuple_,
    union,
    union_all,
    update,
)
from sqlalchemy.orm import Bundle, Session, aliased
from sqlalchemy.sql.base import Executable as AnyStatement

import mushu.server
from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.clock import utc_now
from mushu.server.core import core_context, db, reader_in
from mushu.server.db import IN_ALL_ENVIRONMENTS, own_session, reading, writing
from mushu.server.environments import Environmental, NoEnvironment, environment_of, prepare, set_environment, within
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import create_org
from mushu.server.resources.devices import DeviceRow
from mushu.server.resources.tenants import TenantRow
from mushu.server.users.service import create_user
from tests.server.conftest import settings_on
from tests.server.web.conftest import hurry

pytestmark = pytest.mark.database

LIVE, TEST = Environment.LIVE, Environment.TEST
BOTH = pytest.mark.parametrize("environment", Environment)
TENANTS: Any = TenantRow.__table__
DEVICES: Any = DeviceRow.__table__
NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
Other = aliased(TenantRow)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, database_template: str | Path) -> Iterator[None]:
    """A database for all of these tests."""
    settings = settings_on(tmp_path_factory.mktemp("place") / "instance", database_template)
    with core_context(lambda: settings):
        hurry()
        with writing(db.session):
            user = create_user(db.session, utc_now, SYSTEM, "ada@example.com")
            create_org(db.session, utc_now, SYSTEM, "acme", user.id)
        yield
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(autouse=True)
def rows(place: None) -> None:
    """A tenant with a device on each side, and, by some mistake, a live device of the test tenant."""
    organizations: Any = Organization.__table__
    with db.engine.begin() as connection:
        for table in (DEVICES, TENANTS):
            connection.execute(table.delete())
        org_id = connection.execute(select(organizations.c.id)).scalar_one()
        for side in Environment:
            tenant = {"id": side, "org_id": org_id, "environment": side, "bundle_id": side, "use_sandbox": False}
            connection.execute(TENANTS.insert(), tenant | {"created_at": NOW, "created_by": "x"})
        _device(connection, "live", "live", LIVE)
        _device(connection, "test", "test", TEST)
        _device(connection, "stray", "test", LIVE)


def _device(connection: Connection, row_id: str, tenant_id: str, environment: Environment) -> None:
    row = {"id": row_id, "tenant_id": tenant_id, "environment": environment, "user_id": "u", "token": row_id}
    connection.execute(DEVICES.insert(), row | {"created_at": NOW, "registered_at": NOW, "platform": "ios"})


@pytest.fixture
def session(rows: None) -> Iterator[Session]:
    with own_session(db.engine) as session:
        yield session


def everything() -> dict[str, list[str]]:
    """Return all rows of both tables, seen from outside of any session."""
    with db.engine.connect() as connection:
        return {table.name: sorted(map(str, connection.execute(table.select()))) for table in (TENANTS, DEVICES)}


#: What a session finds: by environment, sorted.
FOUND: dict[str, tuple[AnyStatement, list[Any], list[Any]]] = {
    "a class": (select(TenantRow.bundle_id), ["live"], ["test"]),
    "a column": (select(TenantRow.id), ["live"], ["test"]),
    "an alias": (select(Other.id), ["live"], ["test"]),
    "a count": (select(func.count()).select_from(TenantRow), [1], [1]),
    "a count of a column": (select(func.count(DeviceRow.id)), [2], [1]),
    "a join": (select(DeviceRow.id).join(TenantRow, DeviceRow.tenant_id == TenantRow.id), ["live"], ["test"]),
    "an outer join": (
        select(func.coalesce(TenantRow.id, "-"))
        .select_from(DeviceRow)
        .outerjoin(TenantRow, DeviceRow.tenant_id == TenantRow.id),
        ["-", "live"],
        ["test"],
    ),
    "a join with oneself": (select(Other.id).select_from(TenantRow).join(Other, true()), ["live"], ["test"]),
    "a product": (select(TenantRow.id).where(DeviceRow.id != TenantRow.id), ["live"], []),
    "a subquery": (select(select(TenantRow.id).subquery().c.id), ["live"], ["test"]),
    "a class on a subquery": (select(aliased(TenantRow, select(TenantRow).subquery()).id), ["live"], ["test"]),
    "a common table": (select(select(TenantRow.id).cte().c.id), ["live"], ["test"]),
    "a union": (union(select(TenantRow.id), select(TenantRow.bundle_id)), ["live"], ["test"]),
    "a union within": (
        select(union_all(select(TenantRow.id), select(DeviceRow.id)).subquery().c.id),
        ["live", "live", "stray"],
        ["test", "test"],
    ),
    "a condition": (select(DeviceRow.id).where(DeviceRow.tenant_id.in_(select(TenantRow.id))), ["live"], ["test"]),
    "existence": (select(exists().where(TenantRow.id == "live")), [True], [False]),
    "existence elsewhere": (select(Organization.name).where(exists().where(TenantRow.id == "live")), ["acme"], []),
    "existence of a select": (select(exists(select(TenantRow.id).where(TenantRow.id == "live"))), [True], [False]),
    "a constant": (select(literal(1)).where(TenantRow.id == "live"), [1], []),
    "a value": (select(select(func.count()).select_from(DeviceRow).scalar_subquery()), [2], [1]),
    "a value for each row": (
        select(select(func.count()).where(DeviceRow.tenant_id == TenantRow.id).scalar_subquery()).select_from(
            TenantRow
        ),
        [1],
        [1],
    ),
    "a choice": (select(case((TenantRow.id == "live", 1), else_=0)), [1], [0]),
    "a tuple": (select(TenantRow.id).where(tuple_(TenantRow.id).in_([("live",), ("test",)])), ["live"], ["test"]),
    "a bundle": (select(Bundle("b", TenantRow.id)), [("live",)], [("test",)]),
    "a cast": (select(cast(TenantRow.id, String)), ["live"], ["test"]),
    "a class and its table": (select(TenantRow.id).where(TENANTS.c.id != "x"), ["live"], ["test"]),
    "another statement": (select(TenantRow.id).from_statement(select(TenantRow.id)), ["live"], ["test"]),
}

#: What the filter does not reach into.
OUT_OF_REACH: dict[str, AnyStatement] = {
    "a table": select(TENANTS),
    "its column": select(TENANTS.c.id),
    "a count of a table": select(func.count()).select_from(TENANTS),
    "an alias of a table": select(TENANTS.alias().c.id),
    "a table beside an alias": select(Other.id).where(TENANTS.c.id != "x"),
    "a table that is joined": select(DeviceRow.id).join(TENANTS, true()),
    "a table in a comparison": select(DeviceRow.id).where(TENANTS.c.id == DeviceRow.tenant_id),
    "a table that decides what is deleted": delete(DeviceRow).where(TENANTS.c.id == DeviceRow.tenant_id),
    "a table that decides what is joined": select(DeviceRow.id).join(Organization, Organization.id == TENANTS.c.org_id),
    "a table in a count": select(func.count(TENANTS.c.id)),
    "a table in a condition": select(DeviceRow.id).where(DeviceRow.tenant_id.in_(select(TENANTS.c.id))),
    "a class on a table": select(aliased(TenantRow, select(TENANTS).subquery()).id),
    "a class from a table": select(TenantRow).from_statement(select(TENANTS)),
    "a class from plain SQL": select(TenantRow).from_statement(text("SELECT * FROM tenants")),
    "plain SQL": text("SELECT id FROM tenants"),
    "plain SQL that deletes": text("DELETE FROM devices"),
    "a change of a table": update(TENANTS).values(bundle_id="x"),
    "a deletion from a table": delete(TENANTS),
    "an insertion": insert(TenantRow).values(id="new", environment="live"),
    "an insertion into a table": insert(TENANTS).values(id="new", environment="live"),
    "a move": update(TenantRow).values(environment="live"),
    "a move by attribute": update(TenantRow).values({TenantRow.environment: "test"}),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_session_finds_is_of_its_environment(session: Session, name: str) -> None:
    query, live, test = FOUND[name]
    for _ in range(2):  # again, from the cache of compiled statements
        for environment, expected in ((LIVE, live), (TEST, test)):
            set_environment(session, environment)
            with reading(session):
                assert sorted(_values(session, query)) == expected


def _values(session: Session, query: AnyStatement) -> list[Any]:
    assert isinstance(query, Executable)
    found = session.execute(query).scalars().all()
    return [tuple(value) if not isinstance(value, str | int | bool) else value for value in found]


#: What is more than one SELECT of classes that are joined plainly.
UNPREPARED = {
    "an alias", "an outer join", "a subquery", "a class on a subquery", "a common table",
    "a union within", "a condition", "existence", "existence elsewhere", "existence of a select", "a value",
    "a value for each row",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in FOUND if name not in ("a union", "a bundle", "a tuple", "another statement")]
)
def test_what_is_prepared_finds_the_same_without_a_session_and_all_else_is_refused(place: None, name: str) -> None:
    query, live, test = FOUND[name]
    assert isinstance(query, Select)
    if name in UNPREPARED:
        with pytest.raises(NoEnvironment):
            prepare(query)
        return
    prepared = prepare(query)
    for environment, expected in ((LIVE, live), (TEST, test)):
        assert sorted(row[0] for row in prepared.rows(reader_in(environment), {})) == expected


@pytest.mark.parametrize("ids", [[], ["live"], ["test", "live", "stray"], ["stray", *map(str, range(20))]])
def test_a_list_is_a_parameter_of_what_is_prepared(session: Session, ids: list[str]) -> None:
    query = select(DeviceRow.id).where(DeviceRow.id.in_(bindparam("ids", expanding=True)), DeviceRow.token != "x")
    prepared = prepare(query, lambda row_id: row_id)
    for environment, rows in ((LIVE, {"live", "stray"}), (TEST, {"test"})):
        assert {*prepared.rows(reader_in(environment), {"ids": ids})} == rows & {*ids}
        set_environment(session, environment)
        with reading(session):
            assert {*prepared.rows(session, {"ids": ids})} == rows & {*ids}


@pytest.mark.parametrize("name", FOUND)
def test_a_session_without_an_environment_finds_nothing_but_fails(session: Session, name: str) -> None:
    with reading(session), pytest.raises(NoEnvironment):
        session.execute(FOUND[name][0])


@BOTH
@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_what_the_filter_does_not_reach_fails_and_does_nothing(
    session: Session, environment: Environment, name: str
) -> None:
    before = everything()
    set_environment(session, environment)
    with pytest.raises(NoEnvironment), writing(session):
        session.execute(OUT_OF_REACH[name])
    assert everything() == before


@BOTH
def test_a_change_by_primary_key_fails_and_does_nothing(session: Session, environment: Environment) -> None:
    before = everything()
    set_environment(session, environment)
    with pytest.raises(NoEnvironment), writing(session):
        session.execute(update(TenantRow), [{"id": "live", "bundle_id": "x"}, {"id": "test", "bundle_id": "x"}])
    with pytest.raises(NoEnvironment), writing(session):
        session.execute(insert(DeviceRow), [{"id": "new", "environment": "live"}])
    assert everything() == before


@pytest.mark.parametrize(
    "change",
    [
        update(DeviceRow).values(user_id="x"),
        update(DeviceRow).where(DeviceRow.id.in_(["live", "test"])).values(user_id="x"),
        update(DeviceRow).where(DeviceRow.tenant_id == TenantRow.id).values(user_id="x"),
        delete(DeviceRow),
        delete(DeviceRow).where(DeviceRow.id.in_(["live", "test"])),
        delete(DeviceRow).where(DeviceRow.tenant_id.in_(select(TenantRow.id))),
    ],
    ids=str,
)  # fmt: skip
@BOTH
def test_a_change_of_many_rows_leaves_the_other_environment_alone(
    session: Session, environment: Environment, change: Executable
) -> None:
    other = TEST if environment is LIVE else LIVE
    before = _devices_of(other)
    own = _devices_of(environment)
    set_environment(session, environment)
    with writing(session):
        session.execute(change)
    assert _devices_of(other) == before
    assert _devices_of(environment) != own


def _devices_of(environment: Environment) -> list[str]:
    with db.engine.connect() as connection:
        return sorted(map(str, connection.execute(DEVICES.select().where(DEVICES.c.environment == environment))))


def test_a_row_of_the_other_environment_is_not_there_even_if_it_was_seen_before(session: Session) -> None:
    set_environment(session, LIVE)
    with reading(session):
        assert session.get(TenantRow, "live") is not None
        assert session.get(TenantRow, "test") is None
    set_environment(session, TEST)
    with reading(session):
        assert session.get(TenantRow, "live") is None, "not from the identity map either"
        assert session.get(TenantRow, "test") is not None
    with within(session, LIVE), reading(session):
        assert session.get(TenantRow, "test") is None
        assert session.get_one(TenantRow, "live").environment == LIVE
    with reading(session):
        assert session.get(TenantRow, "live") is None


def test_what_is_added_is_of_the_environment_of_the_session(session: Session) -> None:
    for environment in Environment:
        set_environment(session, environment)
        with writing(session):
            session.add(_new_device(f"new-{environment}", environment))
    assert [_of("new-live"), _of("new-test")] == ["live", "test"]


@pytest.mark.parametrize(
    "act",
    [
        lambda session: session.add(_new_device("new", LIVE, environment=LIVE)),
        lambda session: session.merge(_new_device("live", LIVE, environment=LIVE)),
        lambda session: setattr(session.get_one(DeviceRow, "test"), "environment", "live"),
    ],
    ids=["added", "merged", "moved"],
)  # fmt: skip
def test_a_row_of_the_other_environment_cannot_be_written(session: Session, act: Callable[[Session], object]) -> None:
    before = everything()
    set_environment(session, TEST)
    with pytest.raises(NoEnvironment), writing(session):
        act(session)
    assert everything() == before


def test_a_row_that_was_found_before_a_change_of_environment_is_not_changed_with_it(session: Session) -> None:
    set_environment(session, LIVE)
    with writing(session):
        device = session.get_one(DeviceRow, "live")
        set_environment(session, TEST)
        device.user_id = "x"
    assert "'x'" not in str(_devices_of(LIVE))


def test_what_was_changed_before_a_change_of_environment_is_kept(session: Session) -> None:
    set_environment(session, LIVE)
    with writing(session):
        session.get_one(DeviceRow, "live").user_id = "x"
        with within(session, TEST):
            session.get_one(DeviceRow, "test").user_id = "y"
        session.get_one(DeviceRow, "stray").user_id = "z"
    assert ["'x'" in str(_devices_of(LIVE)), "'y'" in str(_devices_of(TEST)), "'z'" in str(_devices_of(LIVE))] == [
        True
    ] * 3


def test_a_session_without_an_environment_adds_and_gets_nothing(session: Session) -> None:
    before = everything()
    with pytest.raises(NoEnvironment):
        environment_of(session)
    with pytest.raises(NoEnvironment), writing(session):
        session.add(_new_device("new", LIVE))
    with pytest.raises(NoEnvironment), reading(session):
        session.get(TenantRow, "live")
    with pytest.raises(NoEnvironment), writing(session):
        session.execute(delete(DeviceRow))
    with within(session, TEST), reading(session):
        assert session.get(TenantRow, "test") is not None
    with pytest.raises(NoEnvironment), reading(session):
        session.get(TenantRow, "test")
    assert everything() == before


def test_within_ends_when_what_is_in_it_fails(session: Session) -> None:
    set_environment(session, LIVE)
    with pytest.raises(ZeroDivisionError), within(session, TEST):
        raise ZeroDivisionError
    assert environment_of(session) is LIVE


def test_what_is_about_both_says_so_and_finds_both(session: Session) -> None:
    with reading(session):
        options = {IN_ALL_ENVIRONMENTS: True}
        assert len(session.execute(select(TENANTS.c.id), execution_options=options).all()) == 2


def test_other_tables_are_nobody_s_business(session: Session) -> None:
    for environment in (None, LIVE):
        if environment is not None:
            set_environment(session, environment)
        with reading(session):
            assert session.scalars(select(Organization.name)).all() == ["acme"]
            assert session.execute(text("SELECT count(*) FROM organizations")).scalar() == 1


def test_a_row_that_goes_by_the_filter_cannot_be_of_a_third_environment(session: Session) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), db.engine.begin() as connection:
        connection.execute(TENANTS.update().values(environment="staging"))


def test_no_service_goes_by_the_session() -> None:
    """What the filter does not guard: a connection of its own, and the `bulk_…` methods."""
    names = [
        mapper.class_.__name__ for mapper in TenantRow.registry.mappers if issubclass(mapper.class_, Environmental)
    ]
    assert {"TenantRow", "DeviceRow", "NotificationRow", "SendingRow", "MediaItem"} <= set(names)
    beside = re.compile(
        r"\.bulk_(save|insert|update)|connection\(\)\.execute|engine\.(begin|connect)\(\)"
        r"|raw_connection|connections\.fetch|Prepared\("
    )
    allowed = {
        "core.py",
        "db.py",
        "read_connections.py",
        "environments.py",
        "migrations.py",
        "doctor.py",
        "env.py",
        "upgrade.py",
    }
    allowed |= {"copied_rows.py", "database_copy.py"}  # a copy is of all environments
    found = [
        path.name
        for path in Path(mushu.server.__file__).parent.rglob("*.py")
        if path.name not in allowed and beside.search(path.read_text())
    ]
    assert found == []


def _new_device(row_id: str, tenant_id: str, **more: Any) -> DeviceRow:
    return DeviceRow(
        id=row_id, tenant_id=tenant_id, user_id="u", token=row_id, platform="ios", created_at=NOW,
        registered_at=NOW, **more,
    )  # fmt: skip


def _of(row_id: str) -> str:
    with db.engine.connect() as connection:
        return str(connection.execute(select(DEVICES.c.environment).where(DEVICES.c.id == row_id)).scalar_one())
