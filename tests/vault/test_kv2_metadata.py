"""The metadata of secrets. The same on a real server."""

from typing import Any

import pytest

from tests.vault.places import Place, errors

_FAILED = "custom_metadata validation failed: "


def test_metadata_tells_of_every_version(place: Place) -> None:
    place.write("app", {"a": 1})
    place.write("app", {"a": 2})
    metadata = place.ask("GET", place.metadata("app")).json()["data"]
    assert metadata["current_version"] == 2
    assert set(metadata["versions"]["1"]) == {"created_time", "deletion_time", "destroyed"}
    assert metadata["created_time"] == metadata["versions"]["1"]["created_time"]
    assert metadata["updated_time"] == metadata["versions"]["2"]["created_time"]
    assert (metadata["custom_metadata"], metadata["delete_version_after"]) == (None, "0s")
    assert (metadata["cas_required"], metadata["max_versions"], metadata["oldest_version"]) == (False, 0, 0)


def test_custom_metadata_is_kept_and_told_with_each_version(place: Place) -> None:
    custom = {"owner": "team", "é": "ü 😀"}
    assert place.ask("POST", place.metadata("app"), {"custom_metadata": custom}).status_code == 204
    told = place.write("app", {}, cas=0).json()["data"]
    assert (told["version"], told["custom_metadata"]) == (1, custom)
    assert place.read("app").json()["data"]["metadata"]["custom_metadata"] == custom


def test_writing_custom_metadata_replaces_all_of_it(place: Place) -> None:
    place.ask("POST", place.metadata("app"), {"custom_metadata": {"a": "1", "b": "2"}})
    place.ask("PUT", place.metadata("app"), {"custom_metadata": {"c": "3"}})
    assert _custom(place) == {"c": "3"}
    place.ask("PUT", place.metadata("app"), {"custom_metadata": {}})
    assert _custom(place) is None


def test_patching_custom_metadata_merges(place: Place) -> None:
    place.ask("POST", place.metadata("app"), {"custom_metadata": {"a": "1", "b": "2"}})
    answer = place.patch(place.metadata("app"), {"custom_metadata": {"a": None, "c": "3"}})
    assert (answer.status_code, answer.content) == (204, b"")
    assert _custom(place) == {"b": "2", "c": "3"}


def test_patching_the_metadata_of_nothing_is_404_without_a_body(place: Place) -> None:
    answer = place.patch(place.metadata("none"), {"custom_metadata": {"a": "1"}})
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    "custom",
    [{"k" * 128: "v" * 512}, {str(number): "v" for number in range(64)}, {"k": "é" * 256}, {"k": " "}],
)
def test_custom_metadata_may_be_this_large(place: Place, custom: dict[str, str]) -> None:
    assert place.ask("POST", place.metadata("app"), {"custom_metadata": custom}).status_code == 204
    assert _custom(place) == custom


@pytest.mark.parametrize(
    ("custom", "error"),
    [
        ({"k" * 129: "v"}, f'length of key "{"k" * 129}" is 129 but must be 0 < len(key) <= 128'),
        ({"": "v"}, 'length of key "" is 0 but must be 0 < len(key) <= 128'),
        ({"k": "v" * 513}, 'length of value for key "k" is 513 but must be 0 < len(value) <= 512'),
        ({"k": "é" * 257}, 'length of value for key "k" is 514 but must be 0 < len(value) <= 512'),
        ({"k": ""}, 'length of value for key "k" is 0 but must be 0 < len(value) <= 512'),
        ({"k": "a\nb"}, 'value for key "k" contains unprintable characters'),
        ({str(number): "v" for number in range(65)}, "payload must contain at most 64 keys, provided 65"),
    ],
)
def test_custom_metadata_has_limits(place: Place, custom: dict[str, str], error: str) -> None:
    refused = (400, [f"1 error occurred:\n\t* {_FAILED}{error}\n\n"])
    assert errors(place.ask("POST", place.metadata("app"), {"custom_metadata": custom})) == refused
    assert place.ask("GET", place.metadata("app")).status_code == 404


def test_numbers_and_booleans_become_texts(place: Place) -> None:
    place.ask("POST", place.metadata("app"), {"custom_metadata": {"a": 1, "b": 1.5, "c": True, "d": False}})
    assert _custom(place) == {"a": "1", "b": "1.5", "c": "1", "d": "0"}


@pytest.mark.parametrize(("value", "kind"), [({}, "map[string]interface {}"), ([1], "[]interface {}")])
def test_custom_metadata_is_flat(place: Place, value: Any, kind: str) -> None:
    error = f"{_FAILED}'' expected type 'string', got unconvertible type '{kind}'"
    answer = place.ask("POST", place.metadata("app"), {"custom_metadata": {"k": value}})
    assert errors(answer) == (400, [error])


def test_a_write_of_no_setting_changes_nothing(place: Place) -> None:
    assert place.ask("POST", place.metadata("app"), {"unknown": 1}).status_code == 204
    assert place.ask("GET", place.metadata("app")).status_code == 404


def test_a_path_cannot_undo_what_its_mount_requires(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, cas_required=True)
    answer = place.ask("POST", place.metadata("app"), {"cas_required": False})
    warning = '"cas_required" set to false, but is mandated by backend config. This value will be ignored.'
    assert (answer.status_code, answer.json()["warnings"]) == (200, [warning])


def test_deleting_metadata_deletes_everything(place: Place) -> None:
    place.write("app", {"a": 1})
    assert place.ask("DELETE", place.metadata("app")).status_code == 204
    assert errors(place.read("app")) == (404, [])
    assert place.write("app", {"a": 1}, cas=0).json()["data"]["version"] == 1


@pytest.mark.parametrize(("method", "query"), [("LIST", ""), ("GET", "?list=true")])
def test_a_list_shows_one_level(place: Place, method: str, query: str) -> None:
    for path in ("app", "team/one", "team/two", "team/deep/three"):
        place.write(path, {})
    assert _keys(place, method, f"metadata{query}") == ["app", "team/"]
    assert _keys(place, method, f"metadata/team{query}") == ["deep/", "one", "two"]
    assert errors(place.ask(method, f"{place.mount}/metadata/none{query}")) == (404, [])


def test_a_list_goes_page_by_page(place: Place) -> None:
    for path in ("a", "b", "c"):
        place.write(path, {})
    assert _keys(place, "LIST", "metadata?limit=2") == ["a", "b"]
    assert _keys(place, "LIST", "metadata?after=b&limit=2") == ["c"]


def test_a_detailed_list_tells_the_metadata_too(place: Place) -> None:
    place.write("app", {})
    place.write("team/one", {})
    told = place.ask("LIST", f"{place.mount}/detailed-metadata").json()["data"]
    assert (sorted(told["keys"]), told["key_info"]["team/"]) == (["app", "team/"], {})
    assert told["key_info"]["app"]["current_version"] == 1


def test_metadata_has_a_check_and_set_of_its_own(place: Place) -> None:
    path = place.metadata("app")
    assert errors(place.ask("POST", path, {"max_versions": 1, "metadata_cas": 1})) == (
        400,
        ["metadata_cas must be 0 when creating new metadata"],
    )
    assert place.ask("POST", path, {"metadata_cas_required": True, "metadata_cas": 0}).status_code == 204
    required = (400, ["metadata check-and-set parameter required for this call"])
    assert errors(place.ask("POST", path, {"max_versions": 2})) == required
    assert errors(place.patch(path, {"max_versions": 2})) == required
    mismatch = (400, ["metadata check-and-set parameter does not match the current version"])
    assert errors(place.ask("POST", path, {"max_versions": 2, "metadata_cas": 7})) == mismatch
    assert place.patch(path, {"max_versions": 2, "metadata_cas": 1}).status_code == 204
    metadata = place.ask("GET", path).json()["data"]
    assert (metadata["current_metadata_version"], metadata["max_versions"]) == (2, 2)


def test_a_write_of_data_leaves_the_version_of_the_metadata_alone(place: Place) -> None:
    place.write("app", {})
    assert place.ask("GET", place.metadata("app")).json()["data"]["current_metadata_version"] == 0


def test_a_patch_takes_texts_only_where_a_write_takes_anything(place: Place) -> None:
    place.write("app", {})
    for value, kind in ((1, "number"), (True, "bool")):
        status, said = errors(place.patch(place.metadata("app"), {"custom_metadata": {"a": value}}))
        assert (status, f"cannot unmarshal {kind}" in said[0]) == (500, True)
    assert _custom(place) is None


def test_a_patch_with_null_takes_all_custom_metadata_away(place: Place) -> None:
    place.ask("POST", place.metadata("app"), {"custom_metadata": {"a": "1"}})
    assert place.patch(place.metadata("app"), {"custom_metadata": None}).status_code == 204
    assert _custom(place) is None


def test_a_patch_of_no_setting_is_no_error_even_of_nothing(place: Place) -> None:
    assert place.patch(place.metadata("none"), {}).status_code == 204


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"delete_version_after": "1h30m"}, "1h30m0s"),
        ({"delete_version_after": 90}, "1m30s"),
        ({"delete_version_after": "1d"}, "24h0m0s"),
        ({"delete_version_after": "0s"}, "0s"),
    ],
)
def test_a_life_span_is_told_in_full(place: Place, setting: dict[str, Any], told: str) -> None:
    place.ask("POST", place.metadata("app"), setting)
    assert place.ask("GET", place.metadata("app")).json()["data"]["delete_version_after"] == told


@pytest.mark.parametrize(
    "setting",
    [{"delete_version_after": "-1s"}, {"delete_version_after": "soon"}, {"max_versions": "x"}, {"cas_required": "x"}],
)
def test_settings_that_cannot_be_read_are_refused(place: Place, setting: dict[str, Any]) -> None:
    for answer in (place.ask("POST", place.metadata("app"), setting), place.patch(place.metadata("app"), setting)):
        status, said = errors(answer)
        assert (status, "error converting input for field" in said[0]) == (400, True)


def _custom(place: Place) -> Any:
    return place.ask("GET", place.metadata("app")).json()["data"]["custom_metadata"]


def _keys(place: Place, method: str, path: str) -> list[str]:
    return sorted(place.ask(method, f"{place.mount}/{path}").json()["data"]["keys"])
