"""What the server makes of a request before it looks at what is asked. The same on a real server."""

import http.client
from urllib.parse import urlsplit

import pytest

from tests.vault.calls import LARGEST
from tests.vault.places import Place, errors


@pytest.mark.parametrize("content", [b"{", b'{"data":', b"not json", b"{'data': {}}", b'{"data": {"x": NaN}}'])
def test_what_is_no_json_is_refused(place: Place, content: bytes) -> None:
    status, said = errors(place.ask("POST", place.data("app"), content=content))
    assert status == 400
    assert said[0].startswith("failed to decode JSON input: ")


@pytest.mark.parametrize(("content", "kind"), [(b"[1]", "array"), (b"1", "number"), (b'"x"', "string")])
def test_json_that_is_no_object_is_refused(place: Place, content: bytes, kind: str) -> None:
    error = (
        f"failed to decode JSON input: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )
    assert errors(place.ask("POST", place.data("app"), content=content)) == (400, [error])


def test_a_request_that_is_too_large_is_refused(place: Place) -> None:
    content = b'{"data": {"x": "' + b"x" * LARGEST + b'"}}'
    answer = place.ask("POST", place.data("app"), content=content)
    assert errors(answer) == (413, ["http: request body too large"])


def test_a_large_secret_is_kept(place: Place) -> None:
    assert place.write("app", {"x": "x" * 500_000}).status_code == 200
    assert len(place.read("app").json()["data"]["data"]["x"]) == 500_000


def test_no_write_goes_to_a_folder(place: Place) -> None:
    for answer in (place.write("app/", {}), place.patch(place.data("app/"), {"data": {}})):
        assert errors(answer) == (400, ["cannot write to a path ending in '/'"])


@pytest.mark.parametrize("crooked", ["{}//data/app", "{}/./data/app", "{}/data/x/../app"])
def test_a_crooked_path_is_sent_to_the_straight_one(place: Place, crooked: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(place.server.address).netloc, timeout=30)
    connection.request("GET", f"/v1/{crooked.format(place.mount)}")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (307, f"/v1/{place.data('app')}")
    answer.read()
    connection.close()


def test_an_encoded_way_up_is_refused(place: Place) -> None:
    answer = place.ask("GET", place.data("x/%2e%2e/app"))
    assert errors(answer) == (400, ["relative paths not supported"])


def test_a_path_may_hold_spaces_and_dots(place: Place) -> None:
    for path in ("a b", "a..b", "..a", "é"):
        assert place.write(path, {"at": path}).status_code == 200
        assert place.read(path).json()["data"]["data"] == {"at": path}


def test_every_answer_forbids_caches_and_names_the_namespace(bare_place: Place) -> None:
    answer = bare_place.ask("GET", "sys/mounts", headers={"X-Vault-Namespace": "/"})
    assert (answer.headers["Cache-Control"], answer.headers["X-Vault-Namespace"]) == ("no-store", "/")


def test_health_needs_no_token(bare_place: Place) -> None:
    told = bare_place.ask("GET", "sys/health", token="").json()
    assert {"initialized": True, "sealed": False, "standby": False}.items() <= told.items()
    assert {"version", "server_time_utc", "cluster_name", "cluster_id"} < set(told)
    sealing = bare_place.ask("GET", "sys/seal-status", token="").json()
    assert {"type": "shamir", "sealed": False, "initialized": True}.items() <= sealing.items()


def test_health_does_not_exist_in_a_namespace(bare_place: Place) -> None:
    answer = bare_place.ask("GET", "sys/health", headers={"X-Vault-Namespace": "team"})
    assert errors(answer) == (400, ["operation unavailable in namespaces"])


def test_a_connection_is_kept_for_the_next_request(place: Place) -> None:
    connection = http.client.HTTPConnection(urlsplit(place.server.address).netloc, timeout=30)
    for _ in range(3):
        connection.request("GET", "/v1/sys/health")
        answer = connection.getresponse()
        answer.read()
        assert not answer.will_close
    connection.close()
