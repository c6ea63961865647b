"""No page of a list sorts, or reads a table from its start: SQLite has an index in the order of each."""

import ast
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from mushu.destination import Surroundings, open_destination
from mushu.environment import Environment
from mushu.server import audit, destinations
from mushu.server.audit import EventFilter
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.delivery.drift import DriftChecker, KeyFilter
from mushu.server.environments import within
from mushu.server.gate import policies
from mushu.server.hygiene import Hygiene, Sort, list_keys_to_look_at
from mushu.server.keys import service as keys
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.states import State
from mushu.server.orgs import invitations, members
from mushu.server.orgs import service as orgs
from mushu.server.orgs.invitations import InvitationStatus
from mushu.server.paging import Window
from mushu.server.resources import devices, tenants
from mushu.server.resources.media import service as media
from mushu.server.resources.notifications import service as notifications
from mushu.server.tokens import service as tokens
from mushu.server.users import service as users
from tests.server.statements import statements

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = db.session
HYGIENE = [
    Hygiene(unused=True),
    Hygiene(idle=timedelta(days=90)),
    Hygiene(expires_within=timedelta(days=30)),
    Hygiene(no_expiry=True),
    Hygiene(drifted=True),
    Hygiene(stalled=True),
    Hygiene(owner_left=True),
]
LISTS: dict[str, list[Callable[[Window], object]]] = {
    "list_orgs": [partial(orgs.list_orgs, S)],
    "list_orgs_of_user": [partial(orgs.list_orgs_of_user, S, "usr")],
    "list_users": [partial(users.list_users, S)],
    "list_members": [partial(members.list_members, S, "org")],
    "list_invitations": [
        partial(invitations.list_invitations, S, lambda: NOW, "org", status) for status in (None, *InvitationStatus)
    ],
    "list_tokens": [partial(tokens.list_tokens, S, lambda: NOW, "usr")],
    "list_keys": [
        *(partial(keys.list_keys, S, "org", Selection(state=StateAt(state, NOW))) for state in State),
        *(partial(list_keys_to_look_at, S, NOW, "org", Selection(), hygiene) for hygiene in HYGIENE),
        partial(list_keys_to_look_at, S, NOW, "org", Selection(), Hygiene(), sort=Sort.NAME),
    ],
    "read_keys": [partial(keys.read_keys, S, "org", Environment.LIVE)],
    "read_moving_keys": [lambda window: keys.read_moving_keys(S, "org", Environment.LIVE, window.limit)],
    "list_destinations": [partial(destinations.list_destinations, S, "org")],
    "list_policies": [partial(policies.list_policies, S)],
    "list_events": [
        partial(audit.list_events, S, wanted)
        for wanted in (EventFilter(), EventFilter(org_id="org"), EventFilter(org_id="org", about="key"))
    ],
    "list_devices": [partial(devices.list_devices, S, "tenant", user) for user in (None, "user")],
    "list_tenants": [partial(tenants.list_tenants, S, "org")],
    "list_notifications": [partial(notifications.list_notifications, S, "tenant", outbox) for outbox in (None, True)],
    "_listed": [partial(media.list_media_of_org, S, "org"), partial(media.list_media_of_tenant, S, "tenant")],
}

pytestmark = [pytest.mark.sqlite, pytest.mark.fault]


def test_every_list_is_here() -> None:
    paged = {"page", "ordered_page", "merged_page"}
    found = {
        function.name
        for path in Path(keys.__file__).parents[1].rglob("*.py")
        if path.parent.name != "dashboard"  # a page there is of HTML
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) in paged
    }
    assert found - paged == set(LISTS)


@pytest.mark.parametrize("name", LISTS)
def test_a_page_is_read_in_the_order_of_an_index(context: None, name: str) -> None:
    for fetch in LISTS[name]:
        with within(S, Environment.LIVE), reading(S):
            plan = plan_of(partial(fetch, Window()))
        assert plan
        assert not [line for line in plan if "TEMP B-TREE" in line or is_scan(line)], plan


@pytest.mark.usefixtures("context")
def test_the_place_of_a_name_is_found_in_the_index_and_what_filters_keys_does_not_read_in_its_order() -> None:
    place = base64.urlsafe_b64encode(b"reports key_7").decode()
    for selection, by_name in (
        (Selection(), True),
        (Selection(search="x"), False),
        (Selection(with_deleted=True), True),
    ):
        with reading(S):
            listed = partial(list_keys_to_look_at, S, NOW, "org", selection, Hygiene(), Window(50, place), Sort.NAME)
            plan = " ".join(plan_of(listed))
        assert ("ix_api_keys_by_name (org_id=? AND environment=? AND <expr>>?)" in plan) is by_name, plan


def test_a_page_of_the_ledger_of_an_organization_is_read_in_its_order(context: None) -> None:
    checker = DriftChecker(S, lambda: NOW, partial(open_destination, surroundings=Surroundings(Path())))
    plan = plan_of(lambda: [*checker.check(KeyFilter(org_id="org"))])
    assert [line for line in plan if "deliveries" in line]
    assert not [line for line in plan if "TEMP B-TREE" in line or is_scan(line)], plan


def test_keys_that_move_are_found_without_a_look_at_all_keys_of_an_organization(context: None) -> None:
    with reading(S):
        plan = plan_of(lambda: keys.read_moving_of_many(S, "org", Environment.LIVE, 6))
    assert ("SCAN api_keys USING INDEX ix_api_keys_pending" in plan, "SCAN rotations" in " ".join(plan)) == (True, True)
    assert not [line for line in plan if "org_id" in line], plan


def test_the_trail_of_one_key_is_not_looked_for_in_that_of_its_organization(context: None) -> None:
    with reading(S):
        plan = " ".join(plan_of(lambda: audit.list_events(S, EventFilter(org_id="org", about="key"), Window())))
    assert ("(target_id=?)" in plan, "(actor_id=?)" in plan, "(org_id=?)" in plan) == (True, True, False)


def plan_of(act: Callable[[], object]) -> list[str]:
    """Return what SQLite says of how it finds each page that is asked for."""
    with statements(db.engine) as asked:
        act()
    found: list[str] = []
    for statement in asked:
        if " LIMIT " in statement:
            with db.engine.connect() as connection:
                values = (None,) * statement.count("?")
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                found += [row[3] for row in plan]
    return found


def is_scan(line: str) -> bool:
    """Tell whether rows are read one after the other in an order that is not the list's own."""
    return line.startswith("SCAN ") and " USING INDEX " not in line and line != "SCAN audit_events"
