"""Who may do what: tokens, policies, capabilities, mounts, namespaces. The same on a real server."""

import pytest

from tests.vault.places import Place, errors

_DENIED = (403, ["1 error occurred:\n\t* permission denied\n\n"])
_NO_TOKEN = (403, ["permission denied"])


@pytest.mark.parametrize("token", ["", "s.nope", "hvs.nope"])
@pytest.mark.parametrize("path", ["{}/data/app", "nowhere/app", "auth/token/lookup-self"])
def test_without_a_good_token_everything_is_denied(place: Place, token: str, path: str) -> None:
    assert errors(place.ask("GET", path.format(place.mount), token=token)) == _NO_TOKEN


def test_a_token_of_few_uses_ends_with_the_last_even_if_that_is_refused(place: Place) -> None:
    token = place.allow({"data/app": ["read"]}, num_uses=2)
    place.write("app", {})
    assert errors(place.read("other", token)) == _DENIED
    assert place.read("app", token).status_code == 200
    assert errors(place.read("app", token)) == _NO_TOKEN


def test_create_is_for_what_is_new_and_update_for_what_is_there(place: Place) -> None:
    creator, updater = place.allow({"data/*": ["create"]}), place.allow({"data/*": ["update"]})
    assert errors(place.write("app", {}, updater)) == _DENIED
    assert place.write("app", {}, creator).status_code == 200
    assert errors(place.write("app", {}, creator)) == _DENIED
    assert place.write("app", {}, updater).status_code == 200


def test_what_is_soft_deleted_or_has_metadata_only_is_there(place: Place) -> None:
    creator = place.allow({"data/*": ["create"]})
    place.write("app", {})
    place.ask("DELETE", place.data("app"))
    place.ask("POST", place.metadata("bare"), {"max_versions": 1})
    assert errors(place.write("app", {}, creator)) == _DENIED
    assert errors(place.write("bare", {}, creator)) == _DENIED


def test_each_operation_has_its_capability(place: Place) -> None:
    place.write("app", {"a": 1})
    nothing = place.allow({"data/other": ["read"]})
    reader, patcher = place.allow({"data/app": ["read"]}), place.allow({"data/app": ["patch"]})
    deleter = place.allow({"data/app": ["delete"]})
    assert errors(place.read("app", nothing)) == _DENIED
    assert errors(place.patch(place.data("app"), {"data": {}}, reader)) == _DENIED
    assert place.patch(place.data("app"), {"data": {}}, patcher).status_code == 200
    assert errors(place.read("app", patcher)) == _DENIED
    assert errors(place.ask("DELETE", place.data("app"), token=reader)) == _DENIED
    assert place.ask("DELETE", place.data("app"), token=deleter).status_code == 204
    assert errors(place.ask("POST", f"{place.mount}/undelete/app", {"versions": [1]}, deleter)) == _DENIED


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ({"data/*": ["read"]}, "team/app", True),
        ({"data/te*": ["read"]}, "team/app", True),
        ({"data/team": ["read"]}, "team/app", False),
        ({"data/+": ["read"]}, "team/app", False),
        ({"data/+/app": ["read"]}, "team/app", True),
        ({"data/+/+": ["read"]}, "team/app", True),
        ({"data/+/a*": ["read"]}, "team/app", True),
        ({"data/*": ["read"], "data/team/*": ["deny"]}, "team/app", False),
        ({"data/*": ["deny"], "data/team/*": ["read"]}, "team/app", True),
        ({"data/team/*": ["deny"], "data/team/app": ["read"]}, "team/app", True),
        ({"data/+/app": ["deny"], "data/team/*": ["read"]}, "team/app", True),
        ({"data/team/+": ["deny"], "data/team/*": ["read"]}, "team/app", False),
        ({"data/team/*": ["create"], "data/*": ["read"]}, "team/app", False),
    ],
)
def test_the_most_specific_pattern_decides(place: Place, rules: dict[str, list[str]], path: str, allowed: bool) -> None:
    place.write(path, {})
    token = place.allow(rules)
    assert place.read(path, token).status_code == (200 if allowed else 403)
    told = place.ask("POST", "sys/capabilities-self", {"paths": [place.data(path)]}, token).json()
    assert ("read" in told["capabilities"]) is allowed


def test_deny_wins_between_policies_of_one_pattern(place: Place) -> None:
    server = place.server
    server.policy(f"{place.name}-yes", {place.data("app"): ["read"]})
    server.policy(f"{place.name}-no", {place.data("app"): ["deny"]})
    place.write("app", {})
    token = server.token([f"{place.name}-yes", f"{place.name}-no"])
    assert errors(place.read("app", token)) == _DENIED


def test_a_token_can_ask_what_it_may(place: Place) -> None:
    token = place.allow({"data/app": ["update", "read", "create", "patch"], "metadata/*": ["list"]})
    paths = [place.data("app"), place.data("other"), place.metadata("app")]
    told = place.ask("POST", "sys/capabilities-self", {"paths": paths}, token).json()
    wanted = {paths[0]: ["create", "patch", "read", "update"], paths[1]: ["deny"], paths[2]: ["list"]}
    assert told["data"] == wanted
    assert wanted.items() <= told.items()
    one = place.ask("POST", "sys/capabilities-self", {"paths": paths[:1]}).json()["data"]
    assert one == {paths[0]: ["root"], "capabilities": ["root"]}
    refused = place.ask("POST", "sys/capabilities-self", {}, token)
    assert errors(refused) == (400, ["paths must be supplied"])


def test_a_token_sees_its_mounts_and_no_other(place: Place) -> None:
    token = place.allow({"data/team/app": ["read"]})
    told = place.ask("GET", f"sys/internal/ui/mounts/{place.mount}/any/thing", token=token).json()["data"]
    assert (told["path"], told["type"], told["options"]) == (f"{place.mount}/", "kv", {"version": "2"})
    stranger = place.server.token()
    for mount, asker in ((place.mount, stranger), ("nowhere", token), ("nowhere", place.server.root_token)):
        error = f'please ensure client\'s policies grant access to path "{mount}/app/"'
        answer = place.ask("GET", f"sys/internal/ui/mounts/{mount}/app", token=asker)
        assert errors(answer) == (403, [f"preflight capability check returned 403, {error}"])
    assert errors(place.ask("GET", f"sys/internal/ui/mounts/{place.mount}/app", token="")) == _NO_TOKEN


def test_a_place_without_a_mount_is_404_for_root_and_denied_for_others(place: Place) -> None:
    error = 'no handler for route "nowhere/app". route entry not found.'
    assert errors(place.ask("GET", "nowhere/app")) == (404, [error])
    assert errors(place.ask("GET", "nowhere/app", token=place.server.token())) == _DENIED


def test_a_namespace_is_named_by_header_or_by_path(bare_place: Place) -> None:
    place = bare_place
    place.server.namespace(place.name)
    place.server.mount(f"{place.name}/kv")
    inside = {"X-Vault-Namespace": place.name}
    assert place.ask("POST", "kv/data/app", {"data": {"a": 1}}, headers=inside).status_code == 200
    by_path = place.ask("GET", f"{place.name}/kv/data/app")
    assert by_path.json()["data"]["data"] == {"a": 1}
    client = place.hvac(namespace=place.name).secrets.kv.v2
    read = client.read_secret_version("app", mount_point="kv", raise_on_deleted_version=False)
    assert read["data"]["data"] == {"a": 1}
    assert errors(place.ask("GET", "kv/data/app"))[0] == 404
    assert errors(place.ask("GET", "kv/data/app", headers={"X-Vault-Namespace": "nope"})) == (
        404,
        ["namespace not found"],
    )


def test_a_token_of_a_namespace_is_good_in_there_only(bare_place: Place) -> None:
    place, server = bare_place, bare_place.server
    server.namespace(place.name)
    server.mount(f"{place.name}/kv")
    server.mount(place.mount + "-outside")
    server.policy("reader", {"kv/data/*": ["read", "create"]}, namespace=place.name)
    token = server.token(["reader"], namespace=place.name)
    inside = {"X-Vault-Namespace": place.name}
    assert place.ask("POST", "kv/data/app", {"data": {}}, token, inside).status_code == 200
    assert place.ask("GET", f"{place.name}/kv/data/app", token=token).status_code == 200
    assert errors(place.ask("GET", f"{place.mount}-outside/data/app", token=token)) == _DENIED
    told = place.ask("GET", "sys/internal/ui/mounts/kv/app", token=token, headers=inside).json()["data"]
    assert told["path"] == "kv/"
