"""The metadata of secrets. The same on a real server."""

from typing import Any

import pytest

from tests.vault.places import Place, errors

_FAILED = "custom_metadata validation failed: "


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


def _custom(place: Place) -> Any:
    return place.ask("GET", place.metadata("app")).json()["data"]["custom_metadata"]


def _keys(place: Place, method: str, path: str) -> list[str]:
    return sorted(place.ask(method, f"{place.mount}/{path}").json()["data"]["keys"])
