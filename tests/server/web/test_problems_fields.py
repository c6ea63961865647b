"""What is said of a wrong field: what would be right, and nothing of what was sent."""

import pkgutil
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Annotated

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from mushu.server.errors import Invalid
from mushu.server.web import api
from mushu.server.web.problems import FieldError, field_errors_of
from mushu.server.web.routes import Resource


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=3)] = ""
    items: Annotated[list[str], Field(max_length=2)] = []
    flag: bool = False
    count: Annotated[int, Field(ge=1, le=9)] = 1
    at: AwareDatetime = datetime.fromisoformat("2026-01-15T10:30:00Z")
    odd: Annotated[str, Field(pattern="^x$")] = "x"


class Needy(BaseModel):
    name: str


class Nested(BaseModel):
    alert: Needy
    key: Annotated[str, Field(alias="Idempotency-Key", max_length=3)] = ""


def said(model: type[BaseModel], **values: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return [(fault.field, fault.message) for fault in field_errors_of(caught.value)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", 1, "must be a string"),
        ("name", "long", "is too long"),
        ("items", "x", "must be a list"),
        ("items", ["a", "b", "c"], "has too many items"),
        ("flag", "maybe", "must be true or false"),
        ("count", "many", "must be a whole number"),
        ("count", 0, "is too small"),
        ("count", 10, "is too large"),
        ("at", "soon", "must be a date and time such as 2027-01-15T10:30:00Z"),
        ("at", [], "must be a date and time such as 2027-01-15T10:30:00Z"),
        ("at", "2027-01-15T10:30:00", "must name its time zone, as in 2027-01-15T10:30:00Z"),
        ("odd", "y", "is not valid"),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_right(field: str, value: object, message: str) -> None:
    assert said(Model, **{field: value}) == [(field, message)]


def test_a_missing_field_is_named() -> None:
    assert said(Needy) == [("name", "is required")]


def test_an_item_of_a_list_is_counted() -> None:
    assert said(Model, items=["a", 1]) == [("items.1", "must be a string")]


@pytest.mark.parametrize("name", ["nmae", "deliver_to", "_", "a" * 40])
def test_an_unknown_field_that_looks_like_a_slip_is_named(name: str) -> None:
    assert said(Model, **{name: 1}) == [(name, "is not a known field")]


@pytest.mark.parametrize(
    "name",
    ["", "a" * 41, "Name", "na me", "name1", "msk_live_0123", "naïve", "a.b", "a\nb", "<b>", "correct horse", "٣"],
)
def test_any_other_name_is_input_and_not_repeated(name: str) -> None:
    assert said(Model, **{name: 1}) == [("a field", "is not a known field")]


@pytest.mark.fault
def test_a_field_within_a_field_and_a_header_are_named() -> None:
    assert said(Nested, alert={}) == [("alert.name", "is required")]
    assert said(Nested, alert={"name": ""}, **{"Idempotency-Key": "long"}) == [("Idempotency-Key", "is too long")]


@pytest.mark.fault
def test_every_field_of_the_api_is_told_what_would_be_right() -> None:
    """Whatever is sent; only what has a pattern, which no client writes by hand, says no more than that."""
    wrong: list[object] = [None, -1, 10**30, 1.5, True, "", "x", "x" * 5_000, [], ["x"] * 2_000, [1], {}, {"x": 1}]
    vague = {
        (model.__name__, name, fault["type"])
        for model in _taken()
        for name, field in model.model_fields.items()
        for value in wrong
        for fault, said in _faults(model, {field.alias or name: value})
        if said.message == "is not valid"
    }
    assert {kind for *_, kind in vague} == {"string_pattern_mismatch"}


def _taken() -> set[type[BaseModel]]:
    """Return what the views of the API take."""
    modules = (import_module(f"{api.__name__}.{module.name}") for module in pkgutil.iter_modules(api.__path__))
    resources = [one for module in modules for one in vars(module).values() if isinstance(one, Resource)]
    taken = [route.view.__annotations__ for resource in resources for route in resource.routes]
    return {one[kind] for one in taken for kind in ("path", "query", "header", "form", "body") if kind in one}


def _faults(model: type[BaseModel], values: dict[str, object]) -> Iterator[tuple[ErrorDetails, FieldError]]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        yield from zip(error.errors(), field_errors_of(error), strict=True)
    except Invalid:
        pass  # it has a sentence of its own
