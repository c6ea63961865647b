"""Version 2 of the key-value engine: writes, check-and-set, patches. The same on a real server."""

import re
from typing import Any

import pytest

from tests.vault.places import ENVELOPE, Place, errors

_MISMATCH = "check-and-set parameter did not match the current version"
_REQUIRED = "check-and-set parameter required for this call"


def test_a_write_tells_the_version_and_a_read_gives_it_back(place: Place) -> None:
    written = place.write("app", {"a": "1"})
    assert written.status_code == 200
    assert written.headers["Content-Type"] == "application/json"
    assert set(written.json()) == ENVELOPE
    told = written.json()["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", told.pop("created_time"))
    assert told == {"version": 1, "deletion_time": "", "destroyed": False, "custom_metadata": None}
    read = place.read("app").json()
    assert (read["data"]["data"], read["data"]["metadata"]["version"]) == ({"a": "1"}, 1)
    assert set(read["data"]["metadata"]) == {"version", "created_time", *told}


def test_what_is_not_there_is_404_without_a_word(place: Place) -> None:
    place.write("app", {})
    for path in (place.data("none"), place.data("app") + "?version=7", place.metadata("none")):
        assert errors(place.ask("GET", path)) == (404, [])


def test_check_and_set_with_zero_only_creates(place: Place) -> None:
    assert place.write("app", {}, cas=0).status_code == 200
    assert errors(place.write("app", {}, cas=0)) == (400, [_MISMATCH])


@pytest.mark.parametrize(("cas", "error"), [(0, _MISMATCH), (2, _MISMATCH), (-1, _MISMATCH)])
def test_check_and_set_with_another_version_is_refused(place: Place, cas: Any, error: str) -> None:
    place.write("app", {"a": 1})
    assert errors(place.write("app", {"a": 2}, cas=cas)) == (400, [error])
    assert place.read("app").json()["data"]["metadata"]["version"] == 1


def test_check_and_set_with_zero_is_refused_after_a_soft_delete(place: Place) -> None:
    place.write("app", {})
    place.ask("DELETE", place.data("app"))
    assert errors(place.write("app", {}, cas=0)) == (400, [_MISMATCH])
    assert place.write("app", {}, cas=1).json()["data"]["version"] == 2


def test_a_mount_can_require_check_and_set(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, cas_required=True)
    assert errors(place.write("app", {})) == (400, [_REQUIRED])
    assert place.write("app", {}, cas=0).status_code == 200
    assert errors(place.patch(place.data("app"), {"data": {"a": 1}})) == (400, [_REQUIRED])


def test_numbers_come_back_as_floats_would(place: Place) -> None:
    place.write("app", {"large": 12345678901234567890, "whole": 1.0, "part": 1.5, "text": "<&>é\u2028"})
    read = place.read("app").json()["data"]["data"]
    assert read == {"large": 12345678901234567000, "whole": 1, "part": 1.5, "text": "<&>é\u2028"}


def test_a_patch_merges_and_null_deletes(place: Place) -> None:
    place.write("app", {"keep": "1", "drop": "2", "deep": {"keep": 1, "drop": 2}, "list": [1, 2]})
    patch = {"drop": None, "deep": {"drop": None, "new": {"none": None, "x": 1}}, "list": [3], "new": "4"}
    told = place.patch(place.data("app"), {"data": patch})
    assert (told.status_code, told.json()["data"]["version"]) == (200, 2)
    merged = {"keep": "1", "deep": {"keep": 1, "new": {"x": 1}}, "list": [3], "new": "4"}
    assert place.read("app").json()["data"]["data"] == merged


def test_a_patch_obeys_check_and_set(place: Place) -> None:
    place.write("app", {"a": 1})
    path = place.data("app")
    assert errors(place.patch(path, {"data": {"b": 1}, "options": {"cas": 0}})) == (400, [_MISMATCH])
    assert place.patch(path, {"data": {"b": 1}, "options": {"cas": 1}}).status_code == 200


def test_a_patch_of_nothing_is_404_without_a_body(place: Place) -> None:
    answer = place.patch(place.data("none"), {"data": {}})
    assert (answer.status_code, answer.content) == (404, b"")
    place.ask("POST", place.metadata("bare"), {"custom_metadata": {"a": "b"}})
    assert place.patch(place.data("bare"), {"data": {}}).status_code == 404


@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_a_patch_of_a_deleted_or_destroyed_version_is_404_with_what_there_was(place: Place, how: str) -> None:
    place.write("app", {"a": 1})
    place.ask("POST", f"{place.mount}/{how}/app", {"versions": [1]})
    answer = place.patch(place.data("app"), {"data": {"b": 1}})
    assert (answer.status_code, answer.json()["data"]["version"]) == (404, 1)
    assert place.read("app").json()["data"]["metadata"]["version"] == 1


@pytest.mark.parametrize("media_type", ["application/json", "application/json-patch+json", "text/plain"])
def test_a_patch_of_another_type_is_refused(place: Place, media_type: str) -> None:
    place.write("app", {})
    answer = place.ask("PATCH", place.data("app"), {"data": {}}, headers={"Content-Type": media_type})
    error = f"PATCH requires Content-Type of application/merge-patch+json, provided {media_type}"
    assert errors(answer) == (415, [error])
