"""The document says what the server does: its references hold, and real answers look as they are described."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mushu.server.core import db
from tests.server.web.asking import answer
from tests.server.web.conftest import House
from tests.server.web.endpoints import MOUNTED, PUBLIC_ANSWERS, Mounted

pytestmark = pytest.mark.unmeasured

Schema = dict[str, Any]

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
every_endpoint = pytest.mark.parametrize("mounted", MOUNTED, ids=str)


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
    def test_is_openapi_3_1(self, spec: Schema) -> None:
        assert spec["openapi"] == "3.1.0"
        assert spec["info"]["title"] == "Mushu"
        assert spec["info"]["version"]
        assert set(spec) <= {"openapi", "info", "paths", "components", "tags", "servers", "security"}

    def test_is_open_to_everybody(self, house: House) -> None:
        assert house.client.get("/openapi.json", headers={"Authorization": "Basic nonsense"}).status_code == 200

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

    def test_every_parameter_of_a_path_is_declared(self, spec: Schema) -> None:
        for method, path, operation in operations(spec):
            assert method in METHODS
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == declared
            assert all(one["required"] for one in operation.get("parameters", []) if one["in"] == "path")

    def test_every_operation_has_a_summary_a_tag_and_an_answer(self, spec: Schema) -> None:
        tags = {tag["name"] for tag in spec["tags"]}
        for _, path, operation in operations(spec):
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

    def test_nothing_of_the_library_is_left_in_it(self, spec: Schema) -> None:
        assert "x-mushu-statuses" not in json.dumps(spec)
        assert "ValidationErrorModel" not in spec["components"]["schemas"]

    @pytest.mark.parametrize("path", ["/openapi", "/openapi/openapi.json", "/openapi/", "/swagger", "/redoc"])
    def test_the_library_serves_no_pages_of_its_own(self, house: House, path: str) -> None:
        assert house.client.get(path).status_code == 404


class TestWhoMay:
    def test_the_schemes_are_those_of_the_gate(self, spec: Schema) -> None:
        schemes = spec["components"]["securitySchemes"]
        assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "X-API-Key")
        assert (schemes["cliToken"]["type"], schemes["cliToken"]["scheme"]) == ("http", "bearer")

    @every_endpoint
    def test_is_said_of_every_endpoint(self, spec: Schema, mounted: Mounted) -> None:
        endpoint, operation = mounted.endpoint, documented(spec, mounted)
        schemes = [["cliToken"]] if endpoint.user_only else [["apiKey"], ["cliToken"]]
        assert [list(scheme) for scheme in operation["security"]] == schemes
        assert operation["x-mushu-scope"] == endpoint.scope
        assert operation["x-mushu-owner-only"] == endpoint.owner_only
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{endpoint.answer.__name__}"}

    def test_what_is_public_says_so(self, spec: Schema) -> None:
        for (method, rule), model in PUBLIC_ANSWERS.items():
            operation = spec["paths"][rule][method.lower()]
            assert operation["security"] == []
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{model.__name__}"}


class TestRefusals:
    @every_endpoint
    def test_are_problem_documents(self, spec: Schema, mounted: Mounted) -> None:
        for status, response in documented(spec, mounted)["responses"].items():
            if status != "200":
                reference = response["content"]["application/problem+json"]["schema"]
                assert reference == {"$ref": "#/components/schemas/Problem"}, status
                assert response["description"]


class TestBodies:
    @every_endpoint
    def test_are_described_where_one_is_taken(self, spec: Schema, mounted: Mounted) -> None:
        operation, body = documented(spec, mounted), mounted.endpoint.body
        if body is None:
            assert "requestBody" not in operation
            return
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert operation["requestBody"]["required"] is True
        assert resolve(spec, schema["$ref"])["additionalProperties"] is False

    def test_a_description_is_made_once_and_never_asks_the_database(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(db.session()), "begin", None)
        assert house.client.get("/openapi.json").status_code == 200
