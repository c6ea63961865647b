"""Version 1 of the key-value engine. The same on a real server."""

from tests.vault.places import Place, errors


def test_what_is_written_is_what_is_read(plain_place: Place) -> None:
    place, path = plain_place, f"{plain_place.mount}/app"
    answer = place.ask("POST", path, {"a": "1", "large": 12345678901234567890, "none": None})
    assert (answer.status_code, answer.content) == (204, b"")
    read = place.ask("GET", path).json()
    assert read["data"] == {"a": "1", "large": 12345678901234567890, "none": None}
    assert place.hvac().secrets.kv.v1.read_secret("app", mount_point=place.mount)["data"]["a"] == "1"


def test_a_write_replaces_everything(plain_place: Place) -> None:
    path = f"{plain_place.mount}/app"
    plain_place.ask("POST", path, {"a": "1"})
    plain_place.ask("PUT", path, {"b": "2"})
    assert plain_place.ask("GET", path).json()["data"] == {"b": "2"}


def test_an_empty_write_is_refused(plain_place: Place) -> None:
    assert errors(plain_place.ask("POST", f"{plain_place.mount}/app", {})) == (400, ["missing data fields"])


def test_a_deleted_secret_is_gone(plain_place: Place) -> None:
    path = f"{plain_place.mount}/app"
    plain_place.ask("POST", path, {"a": "1"})
    assert plain_place.ask("DELETE", path).status_code == 204
    assert plain_place.ask("DELETE", path).status_code == 204
    assert errors(plain_place.ask("GET", path)) == (404, [])


def test_there_is_no_patch(plain_place: Place) -> None:
    path = f"{plain_place.mount}/app"
    plain_place.ask("POST", path, {"a": "1"})
    refused = (405, ["1 error occurred:\n\t* unsupported operation\n\n"])
    assert errors(plain_place.patch(path, {"b": "2"})) == refused
