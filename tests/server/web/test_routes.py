"""Route tables: one list of endpoints, mounted wherever it should stand."""

from flask import Flask

from tests.server.web.asking import SeparateClient, answer
from tests.server.web.endpoints import LIVE, SINGLE, TWICE, Mounted
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
