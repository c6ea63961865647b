"""Which operation belongs to which package."""

import logging
from pathlib import Path

import pytest

from script.sdk.generate import list_packages, server_document
from script.sdk.split import HEADINGS, LEFT_OUT, SANDBOX, Document, Unsuited, service_of, split
from tests.sdk.generated import document, model, operation, reference


@pytest.fixture(scope="module")
def whole() -> Document:
    handlers = logging.getLogger().handlers[:]
    document = server_document()
    logging.getLogger().handlers = handlers
    return document


def test_every_operation_on_live_data_is_in_one_package_and_no_other_is(whole: Document) -> None:
    live = {
        (path, method)
        for path, operations in whole["paths"].items()
        for method, operation in operations.items()
        if not path.startswith(SANDBOX) and operation["tags"][0] not in LEFT_OUT
    }
    parts = [
        (path, method) for part in split(whole).values() for path, operations in part["paths"].items()
        for method in operations
    ]  # fmt: skip
    assert sorted(parts) == sorted(live)
    assert len(live) > 25


def test_the_sandbox_is_the_same_api(whole: Document) -> None:
    """So one package serves both."""
    for path, operations in whole["paths"].items():
        if path.startswith(SANDBOX):
            twin = whole["paths"][path.removeprefix(SANDBOX.rstrip("/"))]
            for method, operation in operations.items():
                for field in ("parameters", "requestBody", "responses"):
                    assert operation.get(field) == twin[method].get(field), path


def test_a_heading_that_is_named_nowhere_is_of_core() -> None:
    assert {heading: service_of(heading) for heading in ("push", "media", "api-keys", "news", "device flow")} == {
        "push": "notify", "media": "media", "api-keys": "core", "news": "core", "device flow": None,
    }  # fmt: skip


def test_a_part_holds_the_schemas_that_it_needs_and_no_others() -> None:
    inner, outer = model({"text": {"type": "string"}}, []), model({"inner": reference("Inner")}, [])
    paths = {
        "/tenants/{tenant_id}/notify": {"post": operation("push", "send", "Outer", "Outer")},
        "/sandbox/tenants/{tenant_id}/notify": {"post": operation("push (sandbox)", "sandbox_send", "Outer", "Outer")},
        "/media/{tenant_id}": {"get": operation("media", "show", None, "Inner")},
    }
    parts = split(document(paths, {"Unused": inner, "Outer": outer, "Inner": inner}))
    assert {name: sorted(part["components"]["schemas"]) for name, part in parts.items()} == {
        "core": [], "notify": ["Inner", "Outer", "Problem"], "media": ["Inner", "Problem"],
    }  # fmt: skip
    assert {name: list(part["paths"]) for name, part in parts.items()} == {
        "core": [], "notify": ["/tenants/{tenant_id}/notify"], "media": ["/media/{tenant_id}"],
    }  # fmt: skip
    assert parts["notify"]["info"]["title"] == "Mushu notify"


def test_a_body_that_is_not_json_stops_the_generation() -> None:
    form = {"content": {"multipart/form-data": {"schema": {"type": "object"}}}}
    paths = {"/media/{tenant_id}": {"post": operation("media", "send", None, "Problem", requestBody=form)}}
    with pytest.raises(Unsuited, match="multipart/form-data"):
        split(document(paths, {}))


def test_the_packages_are_listed_in_setup_cfg_and_no_other_line_of_it_changes(tmp_path: Path) -> None:
    settings = tmp_path / "setup.cfg"
    rest = "[x]\nforbidden_modules =\n    mushu.core\n    mushu.server\n"
    settings.write_text(f"packages =\n    mushu\n    mushu.core.gone\n    mushu.server\n    mushu_vault\n{rest}")
    list_packages(settings)
    written = settings.read_text()
    assert written.endswith(f"    mushu.server\n    mushu_vault\n{rest}")
    assert written.startswith("packages =\n    mushu\n    mushu.core\n    mushu.core.api\n")
    assert "mushu.core.gone" not in written
    assert all(f"    mushu.{service}\n" in written for service in HEADINGS)
