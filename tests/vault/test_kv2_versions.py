"""What becomes of versions: soft deletion, destruction, how many are kept and how long. The same on a real server."""

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


def test_a_destroyed_version_never_comes_back(place: Place) -> None:
    place.write("app", {"a": 1})
    assert place.ask("POST", f"{place.mount}/destroy/app", {"versions": [1]}).status_code == 204
    gone = place.read("app")
    assert (gone.status_code, gone.json()["data"]["data"]) == (404, None)
    assert gone.json()["data"]["metadata"]["destroyed"] is True
    assert gone.json()["data"]["metadata"]["deletion_time"] == ""


def test_old_versions_are_dropped(bare_place: Place) -> None:
    place = bare_place
    place.server.mount(place.mount, max_versions=2)
    for number in range(4):
        place.write("app", {"n": number})
    assert errors(place.ask("GET", place.data("app") + "?version=2")) == (404, [])
    metadata = place.ask("GET", place.metadata("app")).json()["data"]
    assert (metadata["oldest_version"], metadata["current_version"], set(metadata["versions"])) == (3, 4, {"3", "4"})
