"""Test is test, from outside: every route is tried across the border, and the whole database is compared afterwards."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from mushu.environment import Environment
from mushu.server import schema
from mushu.server.core import db
from mushu.server.keys import Scope
from mushu.server.usage.models import TABLES
from mushu.server.web.extensions import recorder_of
from tests.server.conftest import api_key
from tests.server.web.conftest import House
from tests.server.web.endpoints import ALIASES, LIVE, PARAMETERS, TEST, TWICE, Endpoint, Mounted, Stage

pytestmark = pytest.mark.unmeasured

OTHER = {LIVE: TEST, TEST: LIVE}
#: What a stage makes that is of one environment.
OF_ONE_SIDE = ("key", "disabled_key", "pending_key", "tenant", "device", "message", "picture", "arrived")
#: Ends what live and test share, and says so.
ENDS_ALL = ("DELETE", "/orgs/{org}")

Row = tuple[tuple[str, str], ...]
Rows = dict[str, Counter[Row]]

both_ways = pytest.mark.parametrize("environment", Environment)


class Border:
    """One organization with everything on both sides, and the database as it was before something was tried."""

    def __init__(self, house: House, environment: Environment) -> None:
        self.house = house
        self.here = Stage(house.world, environment)
        self.there = Stage(house.world, OTHER[environment])
        self.there.organization = self.here.organization
        for stage in (self.here, self.there):
            another = Stage(house.world, stage.environment)
            another.organization = self.here.organization
            stage.disabled_key = another.disabled_key  # or it would be the stage's key, disabled
            _ = [stage[name] for name in (*OF_ONE_SIDE, "member", "newcomer", "invitation", "cli_token", "token")]
        _ = self.here.headers
        self.before = rows_of(house)

    def assert_nothing_changed(self) -> None:
        of_usage = {table.name for table in TABLES}
        assert rows_of(self.house, but=of_usage) == {
            name: self.before[name] for name in self.before if name not in of_usage
        }

    def assert_other_side_untouched(self) -> None:
        """Not one row of the other environment, or about one of it, is another, is gone or is new."""
        side = self.there.environment
        after = rows_of(self.house)
        strangers = ids_of(self.before, side) | ids_of(after, side)
        for table, rows in after.items():
            was = _about(self.before[table], side, strangers)
            assert _about(rows, side, strangers) == was, f"{table} changed"


def rows_of(house: House, but: Collection[str] = ()) -> Rows:
    """Return every row of every table."""
    recorder_of(house.app).flush()
    with db.engine.connect() as connection:
        return {
            table.name: Counter(
                tuple((name, str(value)) for name, value in row._mapping.items())
                for row in connection.execute(table.select())
            )
            for table in schema.metadata.sorted_tables
            if table.name not in but
        }


def ids_of(rows: Rows, environment: Environment) -> frozenset[str]:
    """Return the ids of all rows that belong to an environment."""
    return frozenset(
        value
        for table in rows.values()
        for row in table
        if ("environment", environment) in row
        for name, value in row
        if name == "id" and not value.isdecimal()
    )


def _about(rows: Counter[Row], environment: Environment, strangers: frozenset[str]) -> Counter[Row]:
    """Return the rows that belong to an environment, or name one that does."""
    return Counter(
        {
            row: count
            for row, count in rows.items()
            if ("environment", environment) in row or not strangers.isdisjoint(value for _, value in row)
        }
    )


def _named(endpoint: Endpoint) -> list[str]:
    """Return which words of the path name something that is of one environment."""
    return [name for name in OF_ONE_SIDE if f"{{{name}}}" in endpoint.path]


def test_the_tables_of_one_environment_are_these() -> None:
    """A new table that holds what is of one environment belongs in here, and in the filter.

    Policies belong to the server, and ask for an environment.
    """
    found = {table.name for table in schema.metadata.sorted_tables if "environment" in table.columns}
    of_one = {"api_keys", "destinations", "tenants", "devices", "notifications", "sendings", "media"}
    assert found == of_one | {"policies"}
    assert set(PARAMETERS) >= set(OF_ONE_SIDE)


@both_ways
def test_the_second_addresses_of_the_published_sdk_are_guarded_like_the_first(
    house: House, environment: Environment
) -> None:
    border = Border(house, environment)
    key = api_key(house.world.key(border.here.organization, *Scope, environment=environment)[1])
    border.before = rows_of(house)
    for method, rule in ALIASES:

        def status(stage: Stage, headers: dict[str, str], method: str = method, rule: str = rule) -> int:
            path = rule.replace("<tenant_id>", stage.tenant).replace("<token>", stage.device)
            return house.client.open(path, method=method, json={}, headers=headers).status_code

        assert status(border.here, {}) == 401
        if rule.startswith("/sandbox/") == (environment is TEST):
            assert status(border.there, key) == status(border.there, border.here.headers) == 404
            assert status(border.here, key) == (422 if method == "POST" else 200), rule
        else:
            assert status(border.here, key) == status(border.there, key) == 403
    border.assert_other_side_untouched()


@both_ways
def test_what_is_of_the_other_environment_is_not_there_for_anybody(house: House, environment: Environment) -> None:
    border = Border(house, environment)
    key = api_key(house.world.key(border.here.organization, *Scope, environment=environment)[1])
    border.before = rows_of(house)
    tried = [endpoint for endpoint in TWICE if _named(endpoint)]
    for endpoint in tried:
        for headers in (border.here.headers, key):
            response = Mounted(endpoint, environment).call(house.client, border.there, headers)
            assert response.status_code == 404, f"{endpoint.method} {endpoint.path}: {response.get_data(as_text=True)}"
    assert len(tried) > 20
    border.assert_nothing_changed()


@both_ways
def test_what_is_read_names_nothing_of_the_other_environment(house: House, environment: Environment) -> None:
    border = Border(house, environment)
    for endpoint in TWICE:
        if not endpoint.changes and not endpoint.tells_of_both:
            response = Mounted(endpoint, environment).call(house.client, border.here, border.here.headers)
            assert response.status_code == 200
            told = response.get_data(as_text=True)
            for name in OF_ONE_SIDE:
                assert border.there[name] not in told, endpoint.path


def test_what_is_written_in_test_leaves_every_row_of_live_as_it_was(house: House) -> None:
    """The other way round, a day of writing tries all of them."""
    border = Border(house, TEST)
    written = [endpoint for endpoint in TWICE if endpoint.changes and (endpoint.method, endpoint.path) != ENDS_ALL]
    for endpoint in sorted(written, key=lambda it: it.owner_only):  # the owner is another one afterwards
        here = Stage(house.world, TEST)
        here.organization = border.here.organization
        response = Mounted(endpoint, TEST).call(house.client, here, border.here.headers)
        assert response.status_code == 200, f"{endpoint.path}: {response.get_data(as_text=True)}"
        border.assert_other_side_untouched()


@both_ways
def test_a_day_of_writing_with_a_key_leaves_the_other_environment_as_it_was(
    house: House, environment: Environment
) -> None:
    """Every writing route one after the other, each on what is left of the day."""
    border = Border(house, environment)
    key = api_key(house.world.key(border.here.organization, *Scope, environment=environment)[1])
    border.before = rows_of(house)
    statuses: dict[int, int] = {}
    for endpoint in sorted((it for it in TWICE if it.changes), key=_deletions_last):
        if not endpoint.user_only and not (endpoint.is_for_live_keys and environment is TEST):
            status = Mounted(endpoint, environment).call(house.client, border.here, key).status_code
            assert status in (200, 404, 409), f"{endpoint.method} {endpoint.path}"
            statuses[status] = statuses.get(status, 0) + 1
    assert statuses[200] > 15
    border.assert_other_side_untouched()
    _assert_shared_rows_are_about(border)


def _deletions_last(endpoint: Endpoint) -> tuple[bool, int]:
    return endpoint.method == "DELETE", -endpoint.path.count("/")


#: They tell of files, which are nobody's.
_OF_FILES = ("journal_positions", "usage_files")


def _assert_shared_rows_are_about(border: Border) -> None:
    """Where live and test share a table, it grew by rows about this organization only, and lost none of others."""
    after = rows_of(border.house)
    here = ids_of(after, border.here.environment) | {border.here.org, border.here.member, border.here.newcomer}
    here |= {border.here.invitation, border.here.owner.id}
    for table in schema.metadata.sorted_tables:
        if "environment" not in table.columns and table.name not in _OF_FILES:
            changed = (after[table.name] - border.before[table.name]) + (border.before[table.name] - after[table.name])
            for row in changed:
                assert any(identifier in str(row) for identifier in here), f"{table.name}: {row}"


def test_the_comparison_finds_what_is_wrong(house: House) -> None:
    border = Border(house, LIVE)
    devices: Any = schema.metadata.tables["devices"]
    with db.engine.begin() as connection:
        connection.execute(devices.update().where(devices.c.token == border.there.device).values(user_id="eve"))
    with pytest.raises(AssertionError):
        border.assert_other_side_untouched()
    with pytest.raises(AssertionError):
        border.assert_nothing_changed()
