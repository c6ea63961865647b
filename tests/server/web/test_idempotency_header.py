"""The header `Idempotency-Key`: what it counts for, and what it may be."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g, request

from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import Scope
from mushu.server.web.api.models import Body, IdempotencyHeader, TenantPath, idempotency_of
from tests.server.conftest import api_key
from tests.server.web.asking import refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.database


class Order(Body):
    parcel: str
    express: bool = False


Mark = Callable[..., IdempotencyMark | None]


@pytest.fixture
def mark() -> Mark:
    """Return the mark of a request, as a view would see it."""
    app = Flask("test")
    for prefix in ("", "/sandbox"):
        for operation in ("send", "send_bulk"):
            path = f"{prefix}/tenants/<tenant_id>/{operation}"
            app.add_url_rule(path, f"{prefix.strip('/')}_push.{operation}", lambda tenant_id: tenant_id)

    def mark(
        key: str | None = "k", body: Body | None = None, path: str = "/tenants/t1/send", org_id: str = "org_a"
    ) -> IdempotencyMark | None:
        with app.test_request_context(path):
            assert request.routing_exception is None
            g.org_id = org_id
            return idempotency_of(IdempotencyHeader.model_validate({"Idempotency-Key": key}), body or Order(parcel="p"))

    return mark


def test_a_request_without_a_key_is_never_a_repetition(mark: Mark) -> None:
    assert mark(key=None) is None


def test_the_same_request_has_the_same_mark(mark: Mark) -> None:
    assert mark() == mark(body=Order(parcel="p", express=False))


@pytest.mark.parametrize(
    "other",
    [{"key": "other"}, {"org_id": "org_b"}, {"path": "/sandbox/tenants/t1/send"}, {"path": "/tenants/t1/send_bulk"}],
    ids=str,
)
def test_a_key_counts_within_an_organization_an_environment_and_an_operation(mark: Mark, other: dict[str, Any]) -> None:
    first, second = mark(), mark(**other)
    assert first is not None
    assert second is not None
    assert first.request_key != second.request_key


@pytest.mark.parametrize("other", [{"body": Order(parcel="q")}, {"path": "/tenants/t2/send"}], ids=str)
def test_the_same_key_for_something_else_is_told_by_its_digest(mark: Mark, other: dict[str, Any]) -> None:
    first, second = mark(), mark(**other)
    assert first is not None
    assert second is not None
    assert first.request_key == second.request_key
    assert first.request_digest != second.request_digest


def test_paths_are_part_of_what_is_asked() -> None:
    assert set(TenantPath.model_fields) == {"tenant_id"}


@pytest.mark.parametrize("key", ["a b", "ä", "k" * 256, " ", "a\tb"])
def test_a_key_that_is_none_is_refused(house: House, stage: Stage, key: str) -> None:
    headers = api_key(house.world.key(stage.organization, *Scope)[1]) | {"Idempotency-Key": key}
    body = {"user_id": "ada", "badge": 1}
    if key == " ":  # an empty header is cut by whoever carries it
        headers["Idempotency-Key"] = ""
    response = house.client.post(f"/tenants/{stage.tenant}/notify", json=body, headers=headers)
    refusal(response, 422, "invalid_input")
