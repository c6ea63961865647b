"""Who may do what: every endpoint with every kind of caller, and every broken credential where the gate is asked.

What a broken credential is answered is decided in one place, before the endpoint has a say. So each kind of them is
tried on one endpoint of each shape, and each endpoint with two of them.

What is expected follows from the table in `endpoints.py`, which was written by hand from the design.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.gate.access import OrgFrom, Requirement
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE
from mushu.server.orgs.members import add_member, remove_member
from mushu.server.orgs.models import Role
from mushu.server.resources.media.service import MEDIA
from mushu.server.resources.tenants import TENANT
from mushu.server.web.guard import OrgPage, public, requirement_of, requires, signed_in
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, all_rows, refusal
from tests.server.web.breaker import BROKEN, Breaker
from tests.server.web.conftest import House
from tests.server.web.endpoints import (
    ALIASES,
    BY_CLIENT_SECRET,
    IN_BROWSER,
    LIVE,
    MOUNTED,
    OF_AN_ORG,
    ORG_PAGES,
    PUBLIC,
    SERVER_PAGES,
    TEST,
    Endpoint,
    Mounted,
    Stage,
    make_operator,
)

pytestmark = pytest.mark.unmeasured

SCOPE_SETS = [scopes for size in (1, 2, 3) for scopes in combinations(Scope, size)]
OTHER = {LIVE: TEST, TEST: LIVE}

ROLES = (Role.MEMBER, Role.ADMIN, Role.OWNER)


def one_of_each_shape() -> list[Mounted]:
    """Return an endpoint for each way in which the gate is asked: what it is about, who may, with or without a body."""
    found: dict[object, Mounted] = {}
    for mounted in MOUNTED:
        endpoint = mounted.endpoint
        asked = (endpoint.org_from, "{org}" in endpoint.path, endpoint.scope, endpoint.user_only, endpoint.owner_only)
        found.setdefault((*asked, endpoint.body is not None), mounted)
    return list(found.values())


SHAPES = one_of_each_shape()
#: Those that name a tenant, a medium or, in the body, an organization, and with what a stranger is refused there.
OF_SOMETHING_ELSE = [one for one in MOUNTED if one.endpoint.org_from is not OrgFrom.PATH and one not in OF_AN_ORG]
HIDDEN = {
    OrgFrom.PATH: "org_not_found",
    OrgFrom.FIELD: "org_not_found",
    TENANT: "tenant_not_found",
    MEDIA: "media_not_found",
}
every_endpoint = pytest.mark.parametrize("mounted", MOUNTED, ids=str)


def refusal_of_key(endpoint: Endpoint, environment: Environment, scopes: tuple[Scope, ...]) -> str | None:
    """Return the code with which a key of the right organization and environment is refused."""
    if endpoint.is_for_live_keys and environment is TEST:
        return "wrong_environment"
    if endpoint.user_only:
        return "user_required"
    return "missing_scope" if endpoint.scope not in scopes else None


def refusal_of_role(endpoint: Endpoint, role: Role) -> str | None:
    """Return the code with which a CLI token is refused; the owner is an operator, too."""
    if endpoint.key_only:
        return "key_required"
    if endpoint.operator_only and role is not Role.OWNER:
        return "operator_required"
    if endpoint.scope is Scope.ADMIN and role is Role.MEMBER:
        return "missing_scope"
    return "owner_required" if endpoint.owner_only and role is not Role.OWNER else None


def check(mounted: Mounted, response: TestResponse) -> None:
    """Compare an answer with what is expected of a real success."""
    assert response.status_code == 200, response.get_data(as_text=True)
    model = mounted.endpoint.answer.model_validate_json(response.data)
    assert model.model_dump(mode="json") == response.get_json()


class Written:
    """The statements that change something in the database of a house, as they are executed."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(db.engine, "before_cursor_execute", self._note)
        return self.statements

    def __exit__(self, *_: object) -> None:
        event.remove(db.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.split(maxsplit=1)[0].upper() in ("INSERT", "UPDATE", "DELETE"):
            self.statements.append(statement)


@dataclass(frozen=True)
class Refused:
    """Somebody who may not call an endpoint, and what is answered to them."""

    who: str
    headers: dict[str, str]
    status: int
    code: str


def arrange(mounted: Mounted, stage: Stage) -> None:
    """Make everything that a call is about, so that what is written later is written by the call."""
    mounted.path.format_map(stage)
    if mounted.endpoint.body is not None:
        mounted.endpoint.body(stage)


def refused_everywhere(world: World, mounted: Mounted, stage: Stage) -> Iterator[Refused]:
    """Name those whose credential is missing, over, ambiguous, or of the other environment."""
    token, (row, plaintext) = world.token(stage.owner), world.key(stage.organization, *Scope)
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, row.id, DELETE)
    yield Refused("nobody", {}, 401, "missing_credential")
    yield Refused("a deleted key", api_key(plaintext), 401, "deleted_credential")
    yield Refused("two at once", bearer(token) | {"X-API-Key": plaintext}, 400, "ambiguous_credential")
    if mounted.endpoint.key_only:
        return
    _, foreign = world.key(stage.organization, *Scope, environment=OTHER[mounted.environment])
    yield Refused("a key of the other environment", api_key(foreign), 403, "wrong_environment")


def refused_in_the_org(world: World, mounted: Mounted, stage: Stage) -> Iterator[Refused]:
    """Name keys and members of the organization whose scopes or role are not enough."""
    for scopes in SCOPE_SETS:
        code = refusal_of_key(mounted.endpoint, mounted.environment, scopes)
        if code is not None:
            _, plaintext = world.key(stage.organization, *scopes, environment=mounted.environment)
            yield Refused(f"a key with {'+'.join(scopes)}", api_key(plaintext), 403, code)
    for role in (Role.MEMBER, Role.ADMIN):
        code = refusal_of_role(mounted.endpoint, role)
        if code is not None:
            user = world.member(stage.organization, role)
            yield Refused(f"a user who is {role}", bearer(world.token(user)), 403, code)


def outsiders(world: World, mounted: Mounted, stage: Stage) -> Iterator[Refused]:
    """Name those who may not even see the organization and what it has; one was a member a moment ago."""
    elsewhere, former = world.org(), world.user()
    with writing(db.session):
        membership = add_member(db.session, world.clock, SYSTEM, stage.org, former.id, Role.ADMIN)
    with writing(db.session):
        remove_member(db.session, world.clock, SYSTEM, membership)
    code = HIDDEN[mounted.endpoint.org_from]
    yield Refused("a user of another", bearer(world.token(world.owner_of(elsewhere))), 404, code)
    yield Refused("a former member", bearer(world.token(former)), 404, code)
    for environment in Environment:
        # What the path alone decides comes first: a key of the other environment learns only that it is.
        if mounted in OF_AN_ORG or environment is mounted.environment:
            _, plaintext = world.key(elsewhere, *Scope, environment=environment)
            yield Refused(f"a {environment} key of another", api_key(plaintext), 404, code)


class TestWhoMayNot:
    @every_endpoint
    def test_is_refused_by_every_endpoint_which_changes_nothing(self, house: House, mounted: Mounted) -> None:
        stage = Stage(house.world, mounted.environment)
        arrange(mounted, stage)
        refused = [
            *refused_everywhere(house.world, mounted, stage),
            *refused_in_the_org(house.world, mounted, stage),
            *(outsiders(house.world, mounted, stage) if mounted in OF_SOMETHING_ELSE else ()),
        ]
        with Written() as written:
            for one in refused:
                response = mounted.call(house.client, stage, one.headers)
                assert refusal(response, one.status, one.code), one.who
                asks = 'ApiKey realm="mushu", Bearer realm="mushu"' if one.status == 401 else None
                assert response.headers.get("WWW-Authenticate") == asks
        assert written == []

    @pytest.mark.parametrize("mounted", OF_AN_ORG, ids=str)
    def test_sees_an_organization_as_if_it_did_not_exist(self, house: House, mounted: Mounted) -> None:
        stage = Stage(house.world, mounted.environment)
        arrange(mounted, stage)
        strangers, real = list(outsiders(house.world, mounted, stage)), stage.org
        owner = bearer(house.world.token(stage.owner))
        with Written() as written:
            for one in strangers:
                stage.org = real
                foreign = mounted.call(house.client, stage, one.headers)
                assert refusal(foreign, one.status, one.code), one.who
                stage.org = "org_aaaaaaaaaaaa"
                missing = mounted.call(house.client, stage, one.headers)
                assert foreign.data.replace(real.encode(), stage.org.encode()) == missing.data
                assert foreign.status_code == missing.status_code
                assert sorted(foreign.headers.keys()) == sorted(missing.headers.keys())
        assert written == []
        stage.org = real
        assert house.client.delete(f"/orgs/{real}", headers=owner).status_code == 200
        refusal(mounted.call(house.client, stage, owner), 404, "org_not_found")


class TestWhoMay:
    @pytest.mark.database  # one walk over all endpoints, live and in the sandbox
    @every_endpoint
    def test_is_let_in_with_the_least_that_is_enough(self, house: House, mounted: Mounted) -> None:
        endpoint, environment = mounted.endpoint, mounted.environment
        enough = [scopes for scopes in SCOPE_SETS if refusal_of_key(endpoint, environment, scopes) is None]
        if enough:
            stage = Stage(house.world, environment)
            _, key = house.world.key(stage.organization, *enough[0], environment=environment)
            check(mounted, mounted.call(house.client, stage, api_key(key)))
        if endpoint.key_only:
            return
        role = next(role for role in ROLES if refusal_of_role(endpoint, role) is None)
        stage = Stage(house.world, environment)
        stage.caller = stage.owner if role is Role.OWNER else house.world.member(stage.organization, role)
        if endpoint.operator_only:
            make_operator(house.world, stage.caller)
        check(mounted, mounted.call(house.client, stage, bearer(house.world.token(stage.caller))))

    @pytest.mark.parametrize("mounted", SHAPES, ids=str)
    def test_is_let_in_with_more_than_enough(self, house: House, mounted: Mounted) -> None:
        endpoint, environment = mounted.endpoint, mounted.environment
        for scopes in SCOPE_SETS:
            if refusal_of_key(endpoint, environment, scopes) is None:
                stage = Stage(house.world, environment)
                _, key = house.world.key(stage.organization, *scopes, environment=environment)
                check(mounted, mounted.call(house.client, stage, api_key(key)))
        for role in ROLES:
            if refusal_of_role(endpoint, role) is None:
                stage = Stage(house.world, environment)
                stage.caller = stage.owner if role is Role.OWNER else house.world.member(stage.organization, role)
                if endpoint.operator_only:
                    make_operator(house.world, stage.caller)
                check(mounted, mounted.call(house.client, stage, bearer(house.world.token(stage.caller))))


class TestBrokenCredentials:
    @pytest.mark.parametrize(
        ("broken", "code"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN]
    )  # fmt: skip
    def test_are_answered_with_401_and_the_reason(
        self, house: House, broken: Callable[[Breaker], dict[str, str]], code: str
    ) -> None:
        for mounted in SHAPES:
            stage = Stage(house.world, mounted.environment)
            headers = broken(Breaker(house.world, house.clock, house.client, stage))
            response = mounted.call(house.client, stage, headers)
            assert refusal(response, 401, code), mounted
            assert response.headers["WWW-Authenticate"] == 'ApiKey realm="mushu", Bearer realm="mushu"'


class TestTheTable:
    def test_names_every_rule_of_the_application_and_no_other(self, house: House) -> None:
        mounted = {
            (method, rule.rule)
            for rule in house.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        rows = [row.rule for row in MOUNTED]
        others = PUBLIC, IN_BROWSER, BY_CLIENT_SECRET, ORG_PAGES, SERVER_PAGES
        assert {*rows, *ALIASES}.union(*others) == mounted
        assert len(rows) + len(ALIASES) + sum(len(other) for other in others) == len(mounted)

    def test_and_every_view_carries_the_mark_that_its_row_says(self, house: House) -> None:
        expected: dict[tuple[str, str], Requirement | OrgPage | str] = {
            row.rule: Requirement(
                row.endpoint.scope,
                user_only=row.endpoint.user_only,
                owner_only=row.endpoint.owner_only,
                operator_only=row.endpoint.operator_only,
                key_only=row.endpoint.key_only,
                changes_shared=row.endpoint.changes_shared,
                tells_of_both=row.endpoint.tells_of_both,
                org_from=row.endpoint.org_from,
            )
            for row in MOUNTED
        }
        expected |= dict.fromkeys(PUBLIC, "public") | dict.fromkeys(IN_BROWSER, "browser")
        expected |= {rule: OrgPage(requirement) for rule, requirement in ORG_PAGES.items()}
        expected |= dict.fromkeys(SERVER_PAGES, OrgPage(Requirement(None, user_only=True, operator_only=True)))
        expected |= dict.fromkeys(BY_CLIENT_SECRET, Requirement(Scope.READ, key_only=True))
        expected |= {alias: expected[rule] for alias, rule in ALIASES.items()}
        for rule in house.app.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                mark = requirement_of(house.app.view_functions[rule.endpoint])
                assert mark == expected.get((method, rule.rule)), rule.rule

    @pytest.mark.parametrize("rule", sorted(IN_BROWSER), ids=" ".join)
    def test_no_credential_of_the_api_opens_a_page_for_the_browser(
        self, house: House, stage: Stage, rule: tuple[str, str]
    ) -> None:
        method, path = rule
        _, key = house.world.key(stage.organization, *Scope)
        before = all_rows() if stage.headers else {}
        for headers in ({}, stage.headers, api_key(key)):
            response = house.client.open(
                path.replace("<token_id>", "tok_x").replace("<token>", "x"), method=method, headers=headers
            )
            assert response.status_code in (302, 303, 400)
            if response.status_code != 400:
                assert response.headers["Location"].startswith("/login")
        assert all_rows() == before

    @pytest.mark.parametrize("rule", sorted(PUBLIC), ids=" ".join)
    def test_what_is_public_asks_for_no_credential(self, house: House, rule: tuple[str, str]) -> None:
        method, path = rule
        response = house.client.open(path.replace("<link>", "x").replace("<path:filename>", "app.css"), method=method)
        assert response.status_code not in (401, 403)


class TestMarks:
    def test_a_view_without_a_mark_is_refused_to_everybody(
        self, app: Flask, world: World, client: SeparateClient
    ) -> None:
        org = world.org()
        app.add_url_rule("/orgs/<org_id>/forgotten", "forgotten", lambda org_id: f"open to all of {org_id}")
        path = f"/orgs/{org.id}/forgotten"
        for headers in ({}, bearer(world.token(world.owner_of(org))), api_key(world.key(org, *Scope)[1])):
            assert "open to all" not in client.get(path, headers=headers).get_data(as_text=True)
            refusal(client.get(path, headers=headers), 403, "forbidden")

    @pytest.mark.parametrize("second", [public, signed_in, requires(Scope.READ)])
    @pytest.mark.parametrize("first", [public, signed_in, requires(Scope.ADMIN)])
    def test_a_view_cannot_carry_two(
        self, first: Callable[..., Callable[[], str]], second: Callable[..., Callable[[], str]]
    ) -> None:
        marked = first(lambda: "view")
        with pytest.raises(TypeError, match="says twice"):
            second(marked)


def test_the_owner_of_one_organization_is_nobody_in_another(house: House) -> None:
    mine, theirs = house.world.org(), house.world.org()
    me = house.world.owner_of(mine)
    admin_there = bearer(house.world.token(me))
    with writing(db.session):
        add_member(db.session, house.clock, SYSTEM, theirs.id, me.id, Role.ADMIN)
    refusal(house.client.delete(f"/orgs/{theirs.id}", headers=admin_there), 403, "owner_required")
    assert house.client.delete(f"/orgs/{mine.id}", headers=admin_there).status_code == 200
