"""One OpenAPI document for each package of the SDK, cut from the document of the server.

The sandbox is left out: it is the same API under another base URL, which `mushu.client` chooses by the key.
"""

import copy
from collections.abc import Iterator
from typing import Any, Final

Document = dict[str, Any]

#: The headings (names of resources) that belong to each service; what is named nowhere belongs to `core`.
HEADINGS: Final[dict[str, frozenset[str]]] = {
    "core": frozenset(),
    "notify": frozenset({"tenants", "devices", "push"}),
    "media": frozenset({"media"}),
}
REST: Final = "core"
#: RFC 8628 and RFC 7662 want forms and errors of their own, and libraries for it are many. A signed address is taken
#: as it is, by whatever client moves files well; a credential has no business there.
LEFT_OUT: Final = frozenset({"device flow", "introspection", "media content"})
SANDBOX: Final = "/sandbox/"
_SCHEMAS: Final = "#/components/schemas/"
_JSON: Final = {"application/json"}


class Unsuited(Exception):
    """The server's document holds something that the templates were not made for."""


def split(document: Document) -> dict[str, Document]:
    """Return the documents of the services, by name.

    Raises:
        Unsuited: an operation takes a body that is not JSON.
    """
    return {service: _part(document, service) for service in HEADINGS}


def service_of(heading: str) -> str | None:
    """Return the service that a heading belongs to, or None if it is left out."""
    if heading in LEFT_OUT:
        return None
    return next((service for service, headings in HEADINGS.items() if heading in headings), REST)


def _part(document: Document, service: str) -> Document:
    paths: Document = {}
    for path, operations in document["paths"].items():
        ours = {method: operation for method, operation in operations.items() if _is_of(service, path, operation)}
        if ours:
            paths[path] = copy.deepcopy(ours)
    headings = {operation["tags"][0] for operations in paths.values() for operation in operations.values()}
    return {
        "openapi": document["openapi"],
        "info": document["info"] | {"title": f"Mushu {service}"},
        "paths": paths,
        "components": _components(document["components"], paths),
        "tags": [tag for tag in document["tags"] if tag["name"] in headings],
    }


def _is_of(service: str, path: str, operation: Document) -> bool:
    if path.startswith(SANDBOX) or service_of(operation["tags"][0]) != service:
        return False
    kinds = set(operation.get("requestBody", {}).get("content", _JSON))
    if kinds != _JSON:
        raise Unsuited(f"{operation['operationId']} takes {', '.join(sorted(kinds))}: leave it out, or teach the SDK.")
    return True


def _components(components: Document, paths: Document) -> Document:
    """Return the components without the schemas that nothing in `paths` leads to."""
    schemas: Document = components["schemas"]
    wanted: set[str] = set()
    unread = list(_references(paths))
    while unread:
        name = unread.pop()
        if name not in wanted:
            wanted.add(name)
            unread += _references(schemas[name])
    return components | {"schemas": {name: schemas[name] for name in sorted(wanted)}}


def _references(node: object) -> Iterator[str]:
    """Yield the name of every schema that `node` refers to."""
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(_SCHEMAS):
            yield reference.removeprefix(_SCHEMAS)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
