"""What becomes of versions: soft deletion, destruction, how many are kept and how long. The same on a real server."""

from typing import Any

import pytest

from tests.vault.places import ENVELOPE, Place, errors


def test_a_soft_deleted_version_is_404_with_its_metadata(place: Place) -> None:
    place.write("app", {"a": 1})
    answer = place.ask("DELETE", place.data("app"))
    assert (answer.status_code, answer.content) == (204, b"")
    gone = place.read("app")
    assert gone.status_code == 404
    assert set(gone.json()) == ENVELOPE
    assert gone.json()["data"]["data"] is None
    assert gone.json()["data"]["metadata"]["deletion_time"]
    assert gone.json()["data"]["metadata"]["destroyed"] is False


def test_deleting_what_is_not_there_is_no_error(place: Place) -> None:
    for path in (place.data("none"), place.metadata("none")):
        assert place.ask("DELETE", path).status_code == 204
    for how in ("delete", "undelete", "destroy"):
        assert place.ask("POST", f"{place.mount}/{how}/none", {"versions": [1]}).status_code == 204


@pytest.mark.parametrize("versions", [[1], "1", 1, ["1"]])
def test_versions_can_be_deleted_and_brought_back(place: Place, versions: Any) -> None:
    place.write("app", {"a": 1})
    place.write("app", {"a": 2})
    assert place.ask("POST", f"{place.mount}/delete/app", {"versions": versions}).status_code == 204
    assert place.ask("GET", place.data("app") + "?version=1").status_code == 404
    assert place.read("app").status_code == 200
    assert place.ask("POST", f"{place.mount}/undelete/app", {"versions": versions}).status_code == 204
    assert place.ask("GET", place.data("app") + "?version=1").json()["data"]["data"] == {"a": 1}


def test_a_destroyed_version_never_comes_back(place: Place) -> None:
    place.write("app", {"a": 1})
    assert place.ask("POST", f"{place.mount}/destroy/app", {"versions": [1]}).status_code == 204
    place.ask("POST", f"{place.mount}/undelete/app", {"versions": [1]})
    gone = place.read("app")
    assert (gone.status_code, gone.json()["data"]["data"]) == (404, None)
    assert gone.json()["data"]["metadata"]["destroyed"] is True
    assert gone.json()["data"]["metadata"]["deletion_time"] == ""


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("delete", "No version number provided"),
        ("undelete", "No version number provided"),
        ("destroy", "no version number provided"),
    ],
)
def test_changing_versions_needs_their_numbers(place: Place, how: str, error: str) -> None:
    assert errors(place.ask("POST", f"{place.mount}/{how}/app", {})) == (400, [error])


def test_old_versions_are_dropped(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, max_versions=2)
    for number in range(4):
        place.write("app", {"n": number})
    assert errors(place.ask("GET", place.data("app") + "?version=2")) == (404, [])
    metadata = place.ask("GET", place.metadata("app")).json()["data"]
    assert (metadata["oldest_version"], metadata["current_version"], set(metadata["versions"])) == (3, 4, {"3", "4"})


def test_ten_versions_are_kept_if_nobody_says_otherwise(place: Place) -> None:
    for number in range(12):
        place.write("app", {"n": number})
    metadata = place.ask("GET", place.metadata("app")).json()["data"]
    assert (metadata["oldest_version"], len(metadata["versions"]), metadata["max_versions"]) == (3, 10, 0)


def test_a_version_can_be_told_when_to_die(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, delete_version_after=3600)
    told = place.write("app", {"a": 1}).json()["data"]
    assert told["deletion_time"] > told["created_time"]
    assert place.read("app").status_code == 200
    assert place.ask("GET", f"{place.mount}/config").json()["data"]["delete_version_after"] == "1h0m0s"


def test_a_mount_keeps_its_settings(place: Place) -> None:
    path = f"{place.mount}/config"
    before = {"max_versions": 0, "cas_required": False, "metadata_cas_required": False, "delete_version_after": "0s"}
    assert place.ask("GET", path).json()["data"] == before
    assert place.ask("POST", path, {"max_versions": 3, "delete_version_after": "1h"}).status_code == 204
    assert place.ask("GET", path).json()["data"] == before | {"max_versions": 3, "delete_version_after": "1h0m0s"}


def test_the_larger_number_of_versions_counts(place: Place) -> None:
    place.ask("POST", f"{place.mount}/config", {"max_versions": 4})
    place.ask("POST", place.metadata("app"), {"max_versions": 1})
    for number in range(6):
        place.write("app", {"n": number})
    assert set(place.ask("GET", place.metadata("app")).json()["data"]["versions"]) == {"3", "4", "5", "6"}


def test_the_shorter_life_counts(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, delete_version_after=7200)
    place.ask("POST", place.metadata("app"), {"delete_version_after": "1h"})
    told = place.write("app", {}).json()["data"]
    hours = int(told["deletion_time"][11:13]) - int(told["created_time"][11:13])
    assert hours % 24 == 1
