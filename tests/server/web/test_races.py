"""What ends, and what is done with it at the same moment: whichever comes first, nothing outlives its end."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mushu.destination import Surroundings, open_destination
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.db import own_session, reading, writing
from mushu.server.orgs.invitations import InvitationStatus, list_invitations
from mushu.server.orgs.members import get_member, set_role
from mushu.server.orgs.models import Role
from mushu.server.paging import Window
from mushu.server.tokens import device_flow
from mushu.server.users.models import User
from mushu.server.users.service import get_user, set_password
from tests.server.conftest import World, bearer, quiet_app
from tests.server.web.asking import SeparateClient

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

ROUNDS = 8


class RunningClock:
    """A clock that goes on with every look, so that what came later bears a later time."""

    def __init__(self) -> None:
        self._ticks = count()

    def __call__(self) -> datetime:
        return datetime(2026, 1, 15, 10, 30, tzinfo=UTC) + timedelta(microseconds=next(self._ticks))


@pytest.fixture
def core(settings: Settings, tmp_path: Path) -> Core:
    return Core(settings, RunningClock(), lambda uri: open_destination(uri, Surroundings(tmp_path)))


@pytest.fixture
def app(core: Core) -> Iterator[Flask]:
    app = quiet_app(core)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


class Race:
    """Requests and changes that start at the same moment, some rounds of them."""

    def __init__(self, app: Flask, world: World) -> None:
        self.app, self.world, self.engine = app, world, db.engine
        self.client = SeparateClient(app)

    def post(self, path: str, headers: dict[str, str] | None = None, **json: object) -> Callable[[], TestResponse]:
        return lambda: self.client.post(path, json=json, headers=headers)

    def new_password(self, user: User) -> Callable[[], None]:
        def act() -> None:
            with own_session(self.engine) as session, writing(session):
                set_password(session, self.world.clock, SYSTEM, get_user(session, user.id), "another hash")

        return act

    def demote(self, token: str, path: str) -> Callable[[], TestResponse]:
        return lambda: self.client.patch(path, json={"role": "member"}, headers=bearer(token))

    def run(self, *acts: Callable[[], Any]) -> list[Any]:
        start = Barrier(len(acts))

        def one(act: Callable[[], Any]) -> Any:
            start.wait()
            return act()

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(one, acts))

    def works(self, token: str) -> bool:
        return self.client.get("/auth/validate", headers=bearer(token)).status_code == 200


@pytest.fixture
def race(app: Flask, world: World) -> Race:
    return Race(app, world)


@pytest.mark.fault
def test_no_token_that_was_swapped_survives_a_new_password(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        user = world.user()
        headers = bearer(world.token(user))
        answer, _ = race.run(race.post("/auth/refresh", headers), race.new_password(user))
        assert answer.status_code in (200, 401)
        if answer.status_code == 200:
            assert not race.works(answer.get_json()["access_token"])


def test_no_login_with_the_old_password_survives_a_new_one(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        user = world.user(with_password=True)
        login = race.post("/auth/login", email=user.email, password=world.password)
        answer, _ = race.run(login, race.new_password(user))
        assert answer.status_code in (200, 401)
        if answer.status_code == 200:
            assert not race.works(answer.get_json()["access_token"])


@pytest.mark.fault
def test_no_approved_device_code_gives_a_token_that_survives_a_new_password(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        user = world.user()
        with writing(db.session):
            waiting, code = device_flow.start(db.session, world.clock, None, None)
            device_flow.decide(db.session, world.clock, user, waiting.user_code, approve=True)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": code.reveal()}
        answer, _ = race.run(partial(race.client.post, "/auth/token", data=form), race.new_password(user))
        assert answer.status_code in (200, 400)
        if answer.status_code == 200:
            assert not race.works(answer.get_json()["access_token"])


@pytest.mark.fault
def test_no_invitation_of_an_admin_stays_who_is_demoted_meanwhile(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        org = world.org()
        admin = world.member(org, Role.ADMIN)
        headers = bearer(world.token(admin))

        def demote(org_id: str = org.id, user_id: str = admin.id) -> None:
            with own_session(race.engine) as session, writing(session):
                member = get_member(session, org_id, user_id)
                set_role(session, world.clock, SYSTEM, member, Role.MEMBER)

        answer, _ = race.run(race.post(f"/orgs/{org.id}/invites/link", headers, role="admin"), demote)
        assert answer.status_code in (200, 403)
        with reading(db.session):
            assert not list_invitations(db.session, world.clock, org.id, InvitationStatus.PENDING, Window()).rows


def test_of_two_who_swap_one_token_one_gets_a_new_one(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        swap = race.post("/auth/refresh", bearer(world.token(world.user())))
        answers = race.run(swap, swap)
        assert sorted(answer.status_code for answer in answers) == [200, 401]


@pytest.mark.fault
def test_of_two_admins_who_demote_each_other_one_stays(race: Race, world: World) -> None:
    for _ in range(ROUNDS):
        org = world.org()
        admins = [world.member(org, Role.ADMIN) for _ in range(2)]

        tokens = [world.token(admin) for admin in admins]
        paths = [f"/orgs/{org.id}/members/{admin.id}" for admin in reversed(admins)]
        answers = race.run(*(race.demote(token, path) for token, path in zip(tokens, paths, strict=True)))
        assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])
        with reading(db.session):
            roles = [get_member(db.session, org.id, admin.id).role for admin in admins]
        assert sorted(roles) == [Role.ADMIN, Role.MEMBER]
