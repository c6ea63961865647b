"""A permission that ends between the guard, which proved it, and the act: nothing is done with it."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import own_session, writing
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, DISABLE
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs.members import get_member, remove_member, set_role
from mushu.server.orgs.models import Role
from mushu.server.resources import RESOURCES
from mushu.server.tokens.models import CliToken
from mushu.server.tokens.service import revoke_token
from mushu.server.users.service import disable_user, get_user, set_password
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, all_rows, answer, execute
from tests.server.web.conftest import House
from tests.server.web.endpoints import CHANGING, TEST, Mounted, Stage

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

#: They look something up that must not stand in an address.
LOOKS = [mounted for mounted in CHANGING if mounted.path.endswith("/lookup")]
ACTS = [mounted for mounted in CHANGING if mounted not in LOOKS]


def marks_of(mounted: Mounted) -> tuple[pytest.MarkDecorator, ...]:
    """Swapping a token always asked in the act itself; all others are the fault."""
    return () if mounted.path == "/auth/refresh" else (pytest.mark.fault,)


class Between:
    """Does one thing after the guard of the next request, and keeps what the database holds then."""

    def __init__(self, app: Flask) -> None:
        self.act: Callable[[Session], object] | None = None
        self.rows: dict[str, list[str]] = {}
        app.before_request_funcs.setdefault(None, []).append(self.step_in)
        self.app = app

    def step_in(self) -> None:
        act, self.act = self.act, None
        if act is not None:
            with own_session(db.engine) as session:
                act(session)
            self.rows = all_rows()

    def assert_nothing_was_done(self, refused: TestResponse, status: int) -> None:
        assert refused.status_code == status, refused.get_data(as_text=True)
        assert all_rows() == self.rows

    def leave(self) -> None:
        self.app.before_request_funcs[None].remove(self.step_in)


@pytest.fixture
def between(house: House) -> Iterator[Between]:
    found = Between(house.app)
    yield found
    found.leave()


@pytest.fixture
def client(house: House) -> SeparateClient:
    return house.client


@pytest.fixture
def world(house: House) -> World:
    return house.world


@pytest.mark.parametrize("mounted", [pytest.param(one, marks=marks_of(one), id=str(one)) for one in ACTS])
def test_no_endpoint_acts_for_a_credential_that_has_just_ended(
    client: SeparateClient, world: World, between: Between, stage: Stage, mounted: Mounted
) -> None:
    stage.environment = mounted.environment
    endpoint = mounted.endpoint
    if endpoint.user_only:
        headers, end = stage.headers, _token_ends(world, stage.headers)
    else:
        key, text = world.key(stage.organization, *Scope, environment=mounted.environment)
        headers, end = api_key(text), _key_ends(world, key.id)
        if endpoint.is_for_live_keys and mounted.environment is TEST:  # no test key can do that, so nothing ends
            headers, end = stage.headers, _token_ends(world, stage.headers)
    path = mounted.path.format_map(stage)  # makes what the request is about
    body = endpoint.body(stage) if endpoint.body is not None else None
    between.act = end

    refused = client.open(path, method=endpoint.method, json=body, headers=headers)
    between.assert_nothing_was_done(refused, 401)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param("removed", 404, marks=pytest.mark.fault),
        pytest.param("demoted", 403, marks=pytest.mark.fault),
        pytest.param("disabled", 401, marks=pytest.mark.fault),
        pytest.param("password", 401, marks=pytest.mark.fault),
        ("org_deleted", 404),
    ],
)
def test_an_admin_who_has_just_lost_their_role_does_nothing_with_it(
    client: SeparateClient, house: House, world: World, between: Between, stage: Stage, end: str, status: int
) -> None:
    admin = world.member(stage.organization, Role.ADMIN)
    headers = bearer(world.token(admin))
    house.clock.turn(seconds=1)
    between.act = _ends(world, stage.org, admin.id)[end]

    refused = client.post(f"/orgs/{stage.org}/invites/link", json={"role": "admin"}, headers=headers)
    between.assert_nothing_was_done(refused, status)


@pytest.mark.fault
def test_a_key_that_was_just_disabled_mints_no_other(
    client: SeparateClient, world: World, between: Between, stage: Stage
) -> None:
    key, text = world.key(stage.organization, *Scope)
    between.act = _key_ends(world, key.id, DISABLE)

    refused = client.post(f"/orgs/{stage.org}/api-keys", json={"name": "child"}, headers=api_key(text))
    between.assert_nothing_was_done(refused, 401)


@pytest.mark.fault
def test_a_token_that_expires_under_way_does_nothing(
    client: SeparateClient, house: House, between: Between, stage: Stage
) -> None:
    headers = stage.headers
    between.act = lambda _: house.clock.turn(hours=12)

    refused = client.patch(f"/orgs/{stage.org}", json={"name": "late"}, headers=headers)
    between.assert_nothing_was_done(refused, 401)


@pytest.mark.fault
def test_no_device_is_registered_with_a_tenant_that_was_just_deleted(
    client: SeparateClient, world: World, between: Between, stage: Stage
) -> None:
    tenant_id, headers = stage.tenant, stage.headers

    between.act = lambda _: execute("UPDATE tenants SET deleted_at = created_at WHERE id = :id", id=tenant_id)

    refused = client.post(
        f"/tenants/{tenant_id}/devices", json={"user_id": "grace", "token": "5" * 64}, headers=headers
    )
    between.assert_nothing_was_done(refused, 404)


def test_what_nobody_ended_is_done(client: SeparateClient, between: Between, stage: Stage) -> None:
    headers = stage.headers
    between.act = lambda _: None

    assert answer(client.patch(f"/orgs/{stage.org}", json={"name": "new"}, headers=headers))["name"] == "new"


def _token_ends(world: World, headers: dict[str, str]) -> Callable[[Session], object]:
    digest = Secret(headers["Authorization"].partition(" ")[2]).digest()

    def end(session: Session) -> None:
        with writing(session):
            token_id = session.scalars(select(CliToken.id).where(CliToken.digest == digest)).one()
            assert revoke_token(session, world.clock, SYSTEM, token_id)

    return end


def _key_ends(world: World, key_id: str, how: object = DELETE) -> Callable[[Session], object]:
    def end(session: Session) -> None:
        with writing(session):
            change_state(session, world.clock, SYSTEM, key_id, how)  # type: ignore[arg-type]

    return end


def _ends(world: World, org_id: str, user_id: str) -> dict[str, Callable[[Session], object]]:
    clock = world.clock

    def in_writing(act: Callable[[Session], object]) -> Callable[[Session], object]:
        def end(session: Session) -> None:
            with writing(session):
                act(session)

        return end

    def delete(session: Session) -> None:
        context = Context(session, clock, SYSTEM, world.core.open_destination, timedelta(minutes=1))
        delete_org(context, org_id, RESOURCES.on_org_deleted)

    return {
        "removed": in_writing(
            lambda session: remove_member(session, clock, SYSTEM, get_member(session, org_id, user_id))
        ),
        "demoted": in_writing(
            lambda session: set_role(session, clock, SYSTEM, get_member(session, org_id, user_id), Role.MEMBER)
        ),
        "disabled": in_writing(lambda session: disable_user(session, clock, SYSTEM, get_user(session, user_id))),
        "password": in_writing(lambda session: set_password(session, clock, SYSTEM, get_user(session, user_id), "new")),
        "org_deleted": delete,
    }
