"""Route tables: one list of endpoints, mounted wherever it should stand."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, url_for
from werkzeug.routing import Rule

from mushu.server.app import create_app
from mushu.server.core import Core, get_core
from mushu.server.web import openapi
from mushu.server.web.api.health import Health
from mushu.server.web.application import ApiApp
from mushu.server.web.arguments import with_arguments
from tests.server.web.asking import SeparateClient, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import LIVE, SINGLE, TWICE, Mounted, Stage
from tests.server.web.test_openapi import operations


def rules(app: Flask) -> set[tuple[str, str]]:
    return {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()}


def test_a_resource_stands_for_live_and_for_test(app: Flask) -> None:
    found = rules(app)
    for endpoint in TWICE:
        method, path = Mounted(endpoint, LIVE).rule
        assert {(method, path), (method, f"/sandbox{path}")} <= found


def test_what_is_about_the_user_stands_once(app: Flask) -> None:
    found = rules(app)
    for endpoint in SINGLE:
        method, path = Mounted(endpoint, LIVE).rule
        assert (method, path) in found
        assert (method, f"/sandbox{path}") not in found


@pytest.mark.fault
def test_the_rule_of_a_path_that_is_long_or_may_hold_a_secret_is_not_remembered(app: Flask) -> None:
    client, plain = app.test_client(), ["/health", f"/orgs/org_{'a' * 12}/tenants"]
    for path in (*plain * 2, f"/orgs/{'a' * 5_000}", "/orgs/msk_live_x", "/media/media_x/content", "/nowhere"):
        client.get(path)
    assert isinstance(app, ApiApp)
    assert [path for _, path in app._known] == plain


def test_no_rule_learns_to_build_its_address_before_it_is_asked_for(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[str] = []

    def learn(rule: Rule, *_: bool) -> Callable[..., tuple[str, str]]:
        learned.append(rule.rule)
        return lambda *_, **__: ("", "/")

    monkeypatch.setattr(Rule, "_compile_builder", learn)
    made = create_app(Core(get_core().settings))
    assert learned == []
    with made.test_request_context():
        assert [url_for("openapi_document") for _ in range(2)] == ["/", "/"]
    assert learned == ["/openapi.json"]


def test_both_places_run_the_same_view(app: Flask) -> None:
    views = app.view_functions
    for name, view in views.items():
        if name.startswith("sandbox_"):
            live = views[name.removeprefix("sandbox_")]
            assert getattr(view, "__wrapped__", view) is getattr(live, "__wrapped__", live)


def test_and_are_told_apart_by_their_operation_id(client: SeparateClient) -> None:
    spec = answer(client.get("/openapi.json"))
    for _, path, operation in operations(spec):
        assert operation["operationId"].startswith("sandbox_") == path.startswith("/sandbox/")
        assert operation["tags"][0].endswith(" (sandbox)") == path.startswith("/sandbox/")


def test_the_document_is_made_once_and_when_it_is_first_asked_for(
    client: SeparateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = openapi._document, list[Any]()

    def counted(*given: Any) -> dict[str, Any]:
        made.append(make(*given))
        return dict(made[-1])

    monkeypatch.setattr(openapi, "_document", counted)
    assert client.get("/health").status_code == 200
    assert made == []
    assert client.get("/docs").status_code == 200
    assert [answer(client.get("/openapi.json")) for _ in range(2)] == made * 2


def test_a_view_that_takes_what_no_request_has_is_none() -> None:
    def view(cookie: Health) -> Health:
        return cookie

    with pytest.raises(TypeError, match="view takes cookie; a view of the API takes some of header, path, query"):
        with_arguments(view)


class TestQueryParameters:
    @pytest.mark.fault
    @pytest.mark.parametrize(
        ("path", "taken"),
        [
            ("/orgs/{org}/api-keys", "limit, cursor"),
            ("/sandbox/orgs/{org}/api-keys", "limit, cursor"),
            ("/apps/{tenant}/devices", "user_id"),
            ("/orgs/{org}/settings", "none"),
            ("/users/me", "none"),
            ("/health", "none"),
        ],
    )
    def test_one_that_is_not_known_is_refused_by_its_name(
        self, house: House, stage: Stage, path: str, taken: str
    ) -> None:
        """Such as `?stat=active`: a filter that is ignored matches everything."""
        where = path.format_map(stage)
        refused = refusal(house.client.get(f"{where}?stat=active", headers=stage.headers), 422, "invalid_input")
        assert [wrong["field"] for wrong in refused["errors"]] == ["stat"]
        assert refused["detail"].startswith("stat is not a query parameter of this endpoint. It takes ")
        assert taken in refused["detail"]

    def test_one_that_is_given_twice_is_refused(self, house: House, stage: Stage) -> None:
        path = f"/orgs/{stage.org}/api-keys?limit=1&limit=2"
        assert (
            "limit is given twice."
            in refusal(house.client.get(path, headers=stage.headers), 422, "invalid_input")["detail"]
        )

    def test_a_name_that_may_be_a_secret_is_not_repeated(self, house: House, stage: Stage) -> None:
        response = house.client.get(f"/orgs/{stage.org}?Hunter2=x", headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["detail"].startswith("a parameter is not")
        assert "Hunter2" not in response.get_data(as_text=True)

    def test_who_may_not_see_the_thing_learns_nothing_of_its_parameters(self, house: House, stage: Stage) -> None:
        refusal(house.client.get(f"/orgs/{stage.org}?x=1"), 401, "missing_credential")
        stranger = Stage(house.world)
        refusal(house.client.get(f"/orgs/{stage.org}?x=1", headers=stranger.headers), 404, "org_not_found")
