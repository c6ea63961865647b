"""The document says what the server does: its references hold, and real answers look as they are described."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from mushu.server.core import db
from mushu.server.web.openapi import _vocabulary
from tests.server.web.asking import answer
from tests.server.web.conftest import House
from tests.server.web.endpoints import MOUNTED, PUBLIC_ANSWERS, Mounted

pytestmark = pytest.mark.unmeasured

Schema = dict[str, Any]

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture
def spec(house: House) -> Schema:
    return answer(house.client.get("/openapi.json"))


def operations(spec: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def documented(spec: Schema, mounted: Mounted) -> Schema:
    method, rule = mounted.rule
    operation: Schema = spec["paths"][rule.replace("<", "{").replace(">", "}")][method.lower()]
    return operation


def everything_in(node: object) -> Iterator[Schema]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from everything_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from everything_in(value)


def resolve(spec: Schema, reference: str) -> Any:
    found: Any = spec
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


class TestTheDocument:
    def test_is_openapi_3_1_open_to_everybody_and_names_nothing_of_the_library(
        self, house: House, spec: Schema
    ) -> None:
        assert spec["openapi"] == "3.1.0"
        assert spec["info"]["title"] == "Mushu"
        assert spec["info"]["version"]
        assert set(spec) <= {"openapi", "info", "paths", "components", "tags", "servers", "security"}
        assert house.client.get("/openapi.json", headers={"Authorization": "Basic nonsense"}).status_code == 200
        assert "x-mushu-statuses" not in json.dumps(spec)
        assert "ValidationErrorModel" not in spec["components"]["schemas"]
        for path in ("/openapi", "/openapi/openapi.json", "/openapi/", "/swagger", "/redoc"):
            assert house.client.get(path).status_code == 404, "the library serves no pages of its own"

    def test_every_reference_leads_somewhere(self, spec: Schema) -> None:
        references = [node["$ref"] for node in everything_in(spec) if isinstance(node.get("$ref"), str)]
        assert references
        for reference in references:
            assert reference.startswith("#/")
            assert resolve(spec, reference)

    def test_no_two_operations_share_an_id(self, spec: Schema) -> None:
        ids = [operation["operationId"] for _, _, operation in operations(spec)]
        assert len(ids) == len(set(ids))
        assert all(name.isidentifier() for name in ids)

    def test_every_operation_declares_its_parameters_and_has_a_summary_a_tag_and_an_answer(self, spec: Schema) -> None:
        tags = {tag["name"] for tag in spec["tags"]}
        for method, path, operation in operations(spec):
            assert method in METHODS
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == declared
            assert all(one["required"] for one in operation.get("parameters", []) if one["in"] == "path")
            assert operation["summary"].endswith("."), path
            assert set(operation["tags"]) <= tags
            content = operation["responses"]["200"]["content"]
            assert "application/json" in content or all(
                one["schema"] == {"type": "string", "format": "binary"} for one in content.values()
            ), path

    def test_it_names_every_endpoint_of_the_table(self, spec: Schema) -> None:
        for mounted in MOUNTED:
            assert documented(spec, mounted)
        for method, rule in PUBLIC_ANSWERS:
            assert method.lower() in spec["paths"][rule]

    def test_every_property_and_parameter_is_explained_and_every_body_has_an_example(self, spec: Schema) -> None:
        (server,) = spec["servers"]
        assert server["url"] == "http://127.0.0.1:8000"
        schemas = spec["components"]["schemas"]
        used = defaultdict[str, set[str]](set)
        for model, schema in schemas.items():
            for name, described in schema.get("properties", {}).items():
                assert described["description"].endswith("."), (model, name)
                used[model if name in _vocabulary().get(model, {}) else "words"].add(name)
            (example,) = schema["examples"]
            whole = {"$ref": f"#/components/schemas/{model}", "components": spec["components"]}
            errors = [error.message for error in Draft202012Validator(whole).iter_errors(example)]
            assert not errors, (model, example, errors)
        for _, path, operation in operations(spec):
            if path.startswith("/sandbox"):
                assert all(one["description"] for one in operation.get("parameters", []))
                continue
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                assert parameter["description"].endswith("."), (path, name)
                assert "example" in parameter, (path, name)
                tables = f"Parameters of {operation['tags'][0]}", "Parameters", "words"
                used[next(table for table in tables if name in _vocabulary().get(table, ()))].add(name)
            for told in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in told.get("content", {}).values():
                    assert content["schema"].keys() <= {"$ref"} or content["schema"]["format"] == "binary", path
        unused = {(table, name) for table, words in _vocabulary().items() for name in words if name not in used[table]}
        assert not unused


class TestWhoMay:
    def test_the_schemes_are_those_of_the_gate(self, spec: Schema) -> None:
        schemes = spec["components"]["securitySchemes"]
        assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "X-API-Key")
        assert (schemes["cliToken"]["type"], schemes["cliToken"]["scheme"]) == ("http", "bearer")

    def test_is_said_of_every_endpoint(self, spec: Schema) -> None:
        for mounted in MOUNTED:
            endpoint, operation = mounted.endpoint, documented(spec, mounted)
            schemes = (
                [["cliToken"]] if endpoint.user_only else [["apiKey"], ["cliToken"]][: 1 if endpoint.key_only else 2]
            )
            assert [list(scheme) for scheme in operation["security"]] == schemes, mounted
            assert operation["x-mushu-scope"] == endpoint.scope, mounted
            assert operation["x-mushu-owner-only"] == endpoint.owner_only, mounted
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{endpoint.answer.__name__}"}, mounted

    def test_what_is_public_says_so(self, spec: Schema) -> None:
        for (method, rule), model in PUBLIC_ANSWERS.items():
            operation = spec["paths"][rule][method.lower()]
            assert operation["security"] == []
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{model.__name__}"}


def test_refusals_are_problem_documents(spec: Schema) -> None:
    for mounted in MOUNTED:
        for status, response in documented(spec, mounted)["responses"].items():
            if status != "200":
                reference = response["content"]["application/problem+json"]["schema"]
                assert reference == {"$ref": "#/components/schemas/Problem"}, (mounted, status)
                assert response["description"], (mounted, status)


def test_bodies_are_described_where_one_is_taken(spec: Schema) -> None:
    for mounted in MOUNTED:
        operation = documented(spec, mounted)
        if mounted.endpoint.body is None:
            assert "requestBody" not in operation, mounted
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert operation["requestBody"]["required"] is True, mounted
        assert resolve(spec, schema["$ref"])["additionalProperties"] is False, mounted


def test_the_description_is_made_once_and_never_asks_the_database(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(db.session()), "begin", None)
    assert house.client.get("/openapi.json").status_code == 200
