"""The document says what the server does: its references hold, and real answers look as they are described."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mushu.server.core import db
from mushu.server.keys.scopes import Environment, Scope
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer
from tests.server.web.conftest import House
from tests.server.web.endpoints import MOUNTED, PUBLIC_ANSWERS, Mounted, Stage

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


TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def faults(spec: Schema, schema: Schema, value: Any, at: str = "$") -> list[str]:
    """Return where `value` is not what a schema of the kinds that this document uses describes."""
    if "$ref" in schema:
        return faults(spec, resolve(spec, schema["$ref"]), value, at)
    if "anyOf" in schema:
        tried = [faults(spec, choice, value, at) for choice in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    if "const" in schema and value != schema["const"]:
        return [f"{at} is not {schema['const']!r}"]
    if not isinstance(value, TYPES[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        return [f"{at} is no {schema['type']}"]
    if isinstance(value, list):
        found = [faults(spec, schema["items"], item, f"{at}[{place}]") for place, item in enumerate(value)]
        return [fault for part in found for fault in part]
    if isinstance(value, dict):
        missing = [f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is True:  # whatever the app likes to send
            return missing
        unknown = [f"{at}.{name} is not described" for name in value if name not in schema["properties"]]
        inside = [
            fault
            for name, part in value.items()
            if name in schema["properties"]
            for fault in faults(spec, schema["properties"][name], part, f"{at}.{name}")
        ]
        return missing + unknown + inside
    return []


class TestTheDocument:
    def test_is_openapi_3_1(self, spec: Schema) -> None:
        assert spec["openapi"] == "3.1.0"
        assert spec["info"]["title"] == "Mushu"
        assert spec["info"]["version"]
        assert set(spec) <= {"openapi", "info", "paths", "components", "tags", "servers", "security"}

    def test_is_open_to_everybody(self, house: House) -> None:
        assert house.client.get("/openapi.json", headers={"Authorization": "Basic nonsense"}).status_code == 200

    def test_is_the_same_each_time(self, house: House) -> None:
        assert house.client.get("/openapi.json").data == house.client.get("/openapi.json").data

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

    def test_what_is_public_says_so(self, spec: Schema) -> None:
        for method, rule in PUBLIC_ANSWERS:
            assert spec["paths"][rule][method.lower()]["security"] == []


class TestRefusals:
    @every_endpoint
    def test_are_problem_documents(self, spec: Schema, mounted: Mounted) -> None:
        for status, response in documented(spec, mounted)["responses"].items():
            if status != "200":
                reference = response["content"]["application/problem+json"]["schema"]
                assert reference == {"$ref": "#/components/schemas/Problem"}, status
                assert response["description"]

    @every_endpoint
    def test_that_happen_are_documented(self, house: House, spec: Schema, mounted: Mounted) -> None:
        stage = Stage(house.world, mounted.environment)
        weak = house.world.key(stage.organization, Scope.WRITE, environment=mounted.environment)[1]
        outsider = bearer(house.world.token(house.world.user()))
        path, method = mounted.path.format_map(stage), mounted.endpoint.method
        wrong = path.replace(stage.__dict__.get("key", "no key"), "key_x").replace(
            stage.__dict__.get("member", "no member"), "usr_x"
        )
        requests: list[tuple[str, dict[str, Any]]] = [
            (path, {}),
            (path, {"headers": api_key(weak)}),
            (path, {"headers": outsider}),
            (path, {"headers": bearer("x") | {"X-API-Key": weak}}),
            (wrong, {"headers": stage.headers, "json": {"name": "x", "role": "admin"}}),
            (path, {"headers": stage.headers, "data": b"{", "content_type": "application/json"}),
            (path, {"headers": stage.headers, "data": b"{"}),
            (path, {"headers": stage.headers, "json": {"more": 1}}),
            (path, {"headers": stage.headers, "json": {"name": "a" * 1_100_000}}),
            (f"{path}{'&' if '?' in path else '?'}limit=0", {"headers": stage.headers}),
        ]
        seen = {str(house.client.open(where, method=method, **request).status_code) for where, request in requests}
        assert seen <= set(documented(spec, mounted)["responses"])

    def test_a_real_problem_looks_as_described(self, house: House, spec: Schema) -> None:
        schema = spec["components"]["schemas"]["Problem"]
        for response in (house.client.get("/users/me"), house.client.post("/auth/login", json={"x": 1})):
            assert faults(spec, schema, response.get_json()) == []


class TestAnswers:
    @every_endpoint
    def test_look_as_described(self, house: House, spec: Schema, mounted: Mounted) -> None:
        stage = Stage(house.world, mounted.environment)
        house.world.key(stage.organization, environment=mounted.environment)  # so that no list is empty
        schema = documented(spec, mounted)["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{mounted.endpoint.answer.__name__}"}
        document = answer(mounted.call(house.client, stage, stage.headers))
        assert faults(spec, schema, document) == []

    @pytest.mark.parametrize("environment", Environment)
    def test_with_all_that_may_be_left_out_look_as_described(
        self, house: House, spec: Schema, environment: Environment
    ) -> None:
        stage = Stage(house.world, environment)
        path = f"{'/sandbox' if environment is Environment.TEST else ''}/orgs/{stage.org}/api-keys"
        body = {"name": "k", "expires_at": "2100-01-01T00:00:00Z"}
        created = answer(house.client.post(path, json=body, headers=stage.headers))
        assert faults(spec, spec["components"]["schemas"]["CreatedKey"], created) == []
        listed = answer(house.client.get(f"{path}?limit=1", headers=stage.headers))
        assert faults(spec, spec["components"]["schemas"]["KeyList"], listed) == []

    def test_that_are_public_look_as_described(self, house: House, spec: Schema) -> None:
        user = house.world.user(with_password=True)
        signing_in = {"email": user.email, "password": house.world.password}
        for (method, rule), model in PUBLIC_ANSWERS.items():
            schema = spec["paths"][rule][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
            body = {"key": "no key"} if rule.endswith("/api-keys/validate") else signing_in
            document = answer(house.client.open(rule, method=method, json=body if method == "POST" else None))
            assert schema == {"$ref": f"#/components/schemas/{model.__name__}"}
            assert faults(spec, schema, document) == []

    def test_the_check_finds_what_is_wrong(self, spec: Schema) -> None:
        schema = spec["components"]["schemas"]["Org"]
        good = {"org_id": "a", "name": "b", "created_at": "c", "created_by": "d"}
        assert faults(spec, schema, good) == []
        assert faults(spec, schema, good | {"name": 1}) == ["$.name is no string"]
        assert faults(spec, schema, good | {"more": 1}) == ["$.more is not described"]
        assert faults(spec, schema, {"org_id": "a"}) == [
            f"$.{name} is missing" for name in ("name", "created_at", "created_by")
        ]
        assert faults(spec, {"type": "array", "items": {"type": "integer"}}, [1, True]) == ["$[1] is no integer"]
        assert faults(spec, {"const": "ok", "type": "string"}, "no") == ["$ is not 'ok'"]


class TestBodies:
    @every_endpoint
    def test_are_described_where_one_is_taken(self, house: House, spec: Schema, mounted: Mounted) -> None:
        operation, body = documented(spec, mounted), mounted.endpoint.body
        if body is None:
            assert "requestBody" not in operation
            return
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert operation["requestBody"]["required"] is True
        assert faults(spec, schema, body(Stage(house.world))) == []
        assert resolve(spec, schema["$ref"])["additionalProperties"] is False

    def test_a_description_is_made_once_and_never_asks_the_database(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(db.session()), "begin", None)
        assert house.client.get("/openapi.json").status_code == 200
