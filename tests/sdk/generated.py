"""Packages that a test has generated, from documents of its own."""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from script.sdk.generate import write_package

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def operation(heading: str, name: str, body: str | None, answer: str, **more: Any) -> dict[str, Any]:
    """Return an operation in the shape in which the server describes its own."""
    described: dict[str, Any] = {
        "tags": [heading],
        "summary": f"What {name} does.",
        "operationId": name,
        "parameters": [
            {"name": "tenant_id", "in": "path", "required": True, "schema": {"title": "Tenant Id", "type": "string"}}
        ],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": reference(answer)}}},
            "404": {"description": "Not Found", "content": {"application/problem+json": {"schema": _PROBLEM}}},
        },
        "security": [{"apiKey": []}],
    }
    if body is not None:
        described["requestBody"] = {"content": {"application/json": {"schema": reference(body)}}, "required": True}
    return described | more


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def model(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required} | more


TEXT = {"type": "string"}
MAYBE = {"anyOf": [TEXT, {"type": "null"}]}
PROBLEM = model(
    {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "code": TEXT},
    ["type", "title", "status", "detail", "code"],
)


def document(paths: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    headings = {operation["tags"][0]: None for operations in paths.values() for operation in operations.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Mushu", "version": "0"},
        "paths": paths,
        "components": {"schemas": schemas | {"Problem": PROBLEM}},
        "tags": [{"name": heading} for heading in headings],
    }


@contextmanager
def imported(described: dict[str, Any], folder: Path, name: str) -> Iterator[ModuleType]:
    """Generate the package of a document under a name that nothing else has, and import it."""
    source = folder / f"{name}.json"
    source.write_text(json.dumps(described))
    write_package(source, folder / name)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]
