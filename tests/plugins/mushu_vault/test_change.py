"""What a write, a restore and a removal do to a secret, its versions, its neighbours and its metadata."""

from pathlib import Path
from typing import Any

import pytest
import requests

from mushu.destination import Attempt, Conflict, DestinationError, Secret, Surroundings, digest_of
from tests.plugins.mushu_vault.places import (
    FIELD,
    FOREIGN,
    KEY,
    NEXT,
    Server,
    asked,
    deliver,
    destination,
)
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def _put(vault: Server, mount: str, fields: dict[str, Any]) -> None:
    asked(vault, "POST", f"{mount}/data/{_PATH}", {"data": fields})


def _fields(vault: Server, mount: str, version: int = 0) -> Any:
    return asked(vault, "GET", f"{mount}/data/{_PATH}", version=version)["data"]["data"]


def _metadata(vault: Server, mount: str) -> dict[str, Any]:
    return dict(asked(vault, "GET", f"{mount}/metadata/{_PATH}")["data"])


def test_the_version_is_the_number_that_people_see(vault: Server, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().version == "0"
    assert deliver(place).version == "1"
    assert deliver(place, NEXT).version == place.read().version == "2"


def test_a_version_that_is_deleted_is_another_version(vault: Server, kv2: str) -> None:
    """Its number stays the same, and the value is gone: without a word for it, a write would not notice."""
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    seen = place.read()
    asked(vault, "DELETE", f"{kv2}/data/{_PATH}")
    assert (place.read().version, place.read().digest) == ("1-deleted", None)
    with pytest.raises(Conflict):
        place.write(NEXT, Attempt("att_1", "key_1", seen.version))


@pytest.mark.parametrize("act", ["DELETE data", "POST destroy"])
def test_a_secret_that_was_deleted_is_written_on_at_its_real_version(vault: Server, kv2: str, act: str) -> None:
    _put(vault, kv2, {"OTHER": "1"})
    _put(vault, kv2, {"OTHER": "2"})
    method, what = act.split()
    asked(vault, method, f"{kv2}/{what}/{_PATH}", {"versions": [2]} if method == "POST" else None)
    place = destination(vault, f"{kv2}/{_PATH}")
    receipt = deliver(place)
    assert receipt.version == "3"
    assert _fields(vault, kv2) == {FIELD: KEY.reveal()}
    assert _fields(vault, kv2, 1) == {"OTHER": "1"}
    assert place.restore(receipt)
    assert (place.read().version, place.read().digest) == ("4-deleted", None)


def test_where_every_write_must_compare_ours_do(vault: Server) -> None:
    vault.mount("mushu-strict", cas_required=True)
    place = destination(vault, f"mushu-strict/{_PATH}")
    receipt = deliver(place)
    assert place.restore(receipt)
    deliver(place, NEXT)
    assert place.remove(NEXT.digest())
    assert [place.read().version, place.read().digest] == ["4-deleted", None]


def test_a_mount_with_slashes_in_its_name_is_found(vault: Server) -> None:
    vault.mount("mushu-team/kv/two")
    place = destination(vault, f"mushu-team/kv/two/{_PATH}")
    place.preflight()
    deliver(place)
    assert _fields(vault, "mushu-team/kv/two") == {FIELD: KEY.reveal()}


def test_a_namespace_is_written_to_whether_the_uri_or_the_settings_name_it(vault: Server) -> None:
    vault.namespace("mushu-ns")
    vault.mount("mushu-ns/kv")
    by_uri = destination(vault, f"kv/{_PATH}", namespace="elsewhere")
    made = type(by_uri).parse(f"vault:kv/{_PATH}?namespace=mushu-ns", _surroundings(vault, namespace="elsewhere"))
    assert made is not None
    made.preflight()
    deliver(made)
    by_setting = destination(vault, f"kv/{_PATH}", namespace="mushu-ns")
    assert by_setting.read().digest == KEY.digest()
    # The path of a mount as the uppermost namespace sees it leads there, too.
    assert destination(vault, f"mushu-ns/kv/{_PATH}").read().digest == KEY.digest()


def test_a_neighbour_that_moves_between_look_and_write_is_no_conflict(vault: Server, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    for before in ({}, {FIELD: FOREIGN}):
        _put(vault, kv2, {"OTHER": "1", **before})
        seen = place.read()
        _put(vault, kv2, {"OTHER": "2", **before})
        place.write(KEY, Attempt("att_1", "key_1", seen.version))
        assert _fields(vault, kv2) == {"OTHER": "2", FIELD: KEY.reveal()}


def test_neighbours_that_came_to_a_path_that_was_empty_are_no_conflict(vault: Server, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    seen = place.read()
    _put(vault, kv2, {"OTHER": "1"})
    place.write(KEY, Attempt("att_1", "key_1", seen.version))
    assert _fields(vault, kv2) == {"OTHER": "1", FIELD: KEY.reveal()}


@pytest.mark.parametrize("expected", ["7", "1", "x", "", "v1-0123"])
def test_a_version_that_cannot_be_looked_at_any_more_is_a_conflict(vault: Server, expected: str) -> None:
    vault.mount("mushu-short", max_versions=1)
    for number in range(3):
        _put(vault, "mushu-short", {"OTHER": str(number), FIELD: FOREIGN})
    with pytest.raises(Conflict, match="Nothing was written") as caught:
        destination(vault, f"mushu-short/{_PATH}").write(KEY, Attempt("att_1", "key_1", expected))
    assert caught.value.__context__ is None
    assert _fields(vault, "mushu-short") == {"OTHER": "2", FIELD: FOREIGN}


@pytest.mark.parametrize("former", [5, 1.5, True, ["a", None, {"b": None}], {"a": None, "b": {"c": []}}])
def test_a_value_that_is_no_text_is_foreign_and_comes_back_as_it_was(vault: Server, kv2: str, former: object) -> None:
    _put(vault, kv2, {"OTHER": "1", FIELD: former})
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().digest is not None
    receipt = deliver(place)
    assert _fields(vault, kv2) == {"OTHER": "1", FIELD: KEY.reveal()}
    _put(vault, kv2, {"OTHER": "2", FIELD: KEY.reveal()})
    assert place.restore(receipt)
    assert _fields(vault, kv2) == {"OTHER": "2", FIELD: former}


def test_what_is_no_text_is_known_by_the_digest_of_its_json(vault: Server, kv2: str) -> None:
    _put(vault, kv2, {FIELD: {"b": [1, True], "a": "ü"}})
    assert destination(vault, f"{kv2}/{_PATH}").read().digest == digest_of('{"a":"\\u00fc","b":[1,true]}')


@pytest.mark.parametrize("empty", ["", None])
def test_a_placeholder_is_filled_and_empty_again_afterwards(vault: Server, kv2: str, empty: object) -> None:
    _put(vault, kv2, {"OTHER": "1", FIELD: empty})
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().digest is None
    receipt = deliver(place)
    assert place.restore(receipt)
    assert place.read().digest is None
    assert _fields(vault, kv2) == {"OTHER": "1"} | ({FIELD: ""} if empty == "" else {})


@pytest.mark.parametrize("field", ["data", "options", " ", "a/b", "ü☃🗝", "nul\0", "a.b", "{{x}}", 'quo"te\\'])
def test_any_name_of_a_field_is_just_a_name(vault: Server, kv2: str, field: str) -> None:
    _put(vault, kv2, {"OTHER": "1"})
    place = destination(vault, f"{kv2}/{_PATH}", field)
    receipt = deliver(place)
    assert _fields(vault, kv2) == {"OTHER": "1", field: KEY.reveal()}
    assert place.restore(receipt)
    assert _fields(vault, kv2) == {"OTHER": "1"}


@pytest.mark.parametrize("path", ["a b/c", "ü/☃", "100%", "a?b", "a#b", "a:b@c", "a&b=c", "a+b", "a;b", "%2e%2e"])
def test_any_path_is_reached_as_it_is_written(vault: Server, kv2: str, path: str) -> None:
    deliver(destination(vault, f"{kv2}/{path}"))
    found = asked(vault, "GET", f"{kv2}/data/{path}")
    assert found["data"]["data"] == {FIELD: KEY.reveal()}


def test_a_removed_key_leaves_its_neighbours_and_every_version_before(vault: Server, kv2: str) -> None:
    _put(vault, kv2, {"OTHER": "1"})
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert _fields(vault, kv2) == _fields(vault, kv2, 1) == {"OTHER": "1"}
    assert _fields(vault, kv2, 2) == {"OTHER": "1", FIELD: KEY.reveal()}


def test_a_secret_that_is_left_empty_is_deleted_and_its_history_is_not(vault: Server, kv2: str) -> None:
    _put(vault, kv2, {"OTHER": "1"})
    _put(vault, kv2, {FIELD: KEY.reveal()})
    assert destination(vault, f"{kv2}/{_PATH}").remove(KEY.digest())
    versions = _metadata(vault, kv2)["versions"]
    assert versions["3"]["deletion_time"]
    assert not any(version["destroyed"] for version in versions.values())
    assert _fields(vault, kv2, 1) == {"OTHER": "1"}


def test_a_neighbour_that_comes_while_the_empty_version_is_deleted_is_not_hit(stub: VaultStub) -> None:
    place = destination(stub, "secret/apps/backend")
    deliver(place)
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": "1"}), "POST", "secret/delete/*")
    assert place.remove(KEY.digest())
    assert _fields(stub, "secret") == {"OTHER": "1"}


def test_a_receipt_of_a_key_that_was_there_already_cannot_be_undone(vault: Server, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    again = deliver(place)
    assert again.undo is None
    with pytest.raises(DestinationError, match="nothing to go back to") as caught:
        place.restore(again)
    assert caught.value.permanent
    assert place.read().digest == KEY.digest()


def test_the_undo_holds_our_own_former_value_and_no_neighbour(vault: Server, kv2: str) -> None:
    _put(vault, kv2, {"OTHER": "neighbour", FIELD: FOREIGN})
    undo = deliver(destination(vault, f"{kv2}/{_PATH}")).undo
    assert undo is not None
    assert FOREIGN in undo.reveal()
    assert "neighbour" not in undo.reveal()
    assert FOREIGN not in f"{undo!r} {undo}"


# Metadata


def test_the_metadata_names_the_key_beside_what_others_wrote_there(vault: Server, kv2: str) -> None:
    _put(vault, kv2, {"OTHER": "1"})
    asked(vault, "POST", f"{kv2}/metadata/{_PATH}", {"custom_metadata": {"owner": "x"}, "max_versions": 5})
    place = destination(vault, f"{kv2}/{_PATH}")
    first = deliver(place, KEY, "key_1")
    assert _metadata(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_1"}
    second = deliver(place, NEXT, "key_2")
    assert _metadata(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_2"}
    assert place.restore(second)
    assert _metadata(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_1"}
    assert place.restore(first)
    assert _metadata(vault, kv2)["custom_metadata"] == {"owner": "x"}
    assert _metadata(vault, kv2)["max_versions"] == 5


def test_the_name_of_a_key_that_is_gone_goes_too(vault: Server, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert not _metadata(vault, kv2)["custom_metadata"]


def test_a_write_that_finds_its_key_mends_the_name(vault: Server, kv2: str) -> None:
    """A process may have been killed between the two."""
    _put(vault, kv2, {FIELD: KEY.reveal()})
    deliver(destination(vault, f"{kv2}/{_PATH}"), KEY, "key_9")
    assert _metadata(vault, kv2)["custom_metadata"] == {f"mushu_{FIELD}": "key_9"}


@pytest.mark.parametrize("field", ["x" * 200, "line\nline"])
def test_a_field_that_metadata_cannot_name_is_delivered_without_a_name(stub: VaultStub, field: str) -> None:
    deliver(destination(stub, f"secret/{_PATH}", field))
    assert stub.kv("secret", _PATH) is not None
    assert not [request for request in stub.requests if "metadata" in request.path]


_DATA = {"secret/data/*": ["create", "read", "patch"], "sys/capabilities-self": ["update"]}


@pytest.mark.parametrize(
    ("capabilities", "named"),
    [(["patch"], True), (["read", "update"], True), (["update"], False), (["read"], False), ([], False)],
)
def test_without_leave_to_name_the_key_it_is_delivered_all_the_same(
    stub: VaultStub, capabilities: list[str], named: bool
) -> None:
    stub.policy("keys", {**_DATA, "secret/metadata/*": capabilities})
    stub.put("secret", _PATH, {"OTHER": "1"})
    asked(stub, "POST", f"secret/metadata/{_PATH}", {"custom_metadata": {"owner": "x"}})
    place = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    assert deliver(place).version == "2"
    entries = _metadata(stub, "secret")["custom_metadata"]
    assert entries == {"owner": "x"} | ({f"mushu_{FIELD}": "key_1"} if named else {})


@pytest.mark.parametrize("kind", ["cut-before", "cut-after", "error-before", "html", "invalid-json", "redirect"])
def test_whatever_happens_to_the_name_the_key_is_delivered(stub: VaultStub, kind: Any) -> None:
    stub.fault(kind, "*", "secret/metadata/*", times=9)
    receipt = deliver(destination(stub, f"secret/{_PATH}"))
    assert receipt.version == "1"


# Without `patch`, and version 1


@pytest.mark.parametrize("capabilities", [["read", "update"], ["read", "patch"], ["read", "update", "patch"]])
def test_with_either_capability_one_field_is_changed_and_no_other(stub: VaultStub, capabilities: list[str]) -> None:
    stub.policy("keys", {"secret/data/apps/*": capabilities})
    stub.put("secret", _PATH, {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: "old"})
    place = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    receipt = deliver(place)
    assert _fields(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: KEY.reveal()}
    assert place.restore(receipt)
    assert _fields(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: "old"}
    assert place.remove(digest_of("old"))
    assert _fields(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}]}


@pytest.mark.parametrize("status", [405, 415])
def test_a_server_that_knows_no_patch_is_written_to_as_a_whole(stub: VaultStub, status: int) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.fault("error-before", "PATCH", times=-1, status=status)
    deliver(destination(stub, f"secret/{_PATH}"))
    assert _fields(stub, "secret") == {"OTHER": "1", FIELD: KEY.reveal()}
    assert _metadata(stub, "secret")["custom_metadata"] == {f"mushu_{FIELD}": "key_1"}


def test_a_whole_write_is_made_to_the_version_that_was_read(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.fault("error-before", "PATCH", times=-1, status=405)
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": "2"}), "POST", f"secret/data/{_PATH}")
    deliver(destination(stub, f"secret/{_PATH}"))
    assert _fields(stub, "secret") == {"OTHER": "2", FIELD: KEY.reveal()}


def test_in_version_1_numbers_of_neighbours_keep_their_digits(vault: Server, kv1: str) -> None:
    numbers = '{"OTHER": 12345678901234567890, "PRICE": 1.10, "TINY": 1E-400}'
    with requests.Session() as session:
        session.trust_env = False
        headers = {"X-Vault-Token": vault.root_token}
        session.post(f"{vault.address}/v1/{kv1}/{_PATH}", data=numbers, headers=headers, timeout=30)
        place = destination(vault, f"{kv1}/{_PATH}")
        receipt = deliver(place)
        held = session.get(f"{vault.address}/v1/{kv1}/{_PATH}", headers=headers, timeout=30).text
    assert "12345678901234567890" in held
    assert place.restore(receipt)


def test_in_version_1_the_last_field_takes_the_secret_with_it(vault: Server, kv1: str) -> None:
    place = destination(vault, f"{kv1}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert asked(vault, "GET", f"{kv1}/{_PATH}") == {"errors": []}


def test_in_version_1_without_leave_to_delete_the_value_is_emptied(stub: VaultStub) -> None:
    stub.policy("keys", {"plain/*": ["create", "read", "update"]})
    place = destination(stub, f"plain/{_PATH}", token=stub.token(["keys"]))
    deliver(place)
    assert place.remove(KEY.digest())
    assert place.read().digest is None
    assert asked(stub, "GET", f"plain/{_PATH}")["data"] == {FIELD: ""}


def test_in_version_1_a_version_tells_nobody_anything_about_a_foreign_value(vault: Server, kv1: str) -> None:
    place = destination(vault, f"{kv1}/{_PATH}")
    asked(vault, "POST", f"{kv1}/{_PATH}", {FIELD: "1234"})
    version = place.read().version
    assert digest_of("1234")[:16] not in version
    assert digest_of('"1234"')[:16] not in version
    assert version == place.read().version


def test_a_value_that_json_cannot_carry_is_refused_before_anything_is_asked(stub: VaultStub) -> None:
    with pytest.raises(DestinationError, match="no text") as caught:
        destination(stub, f"secret/{_PATH}").write(Secret("msk_\udcff"), Attempt("att_1", "key_1", "0"))
    assert caught.value.permanent
    assert stub.requests == []


# Paths that are copied from the API


@pytest.mark.parametrize("word", ["data", "metadata"])
def test_a_path_of_the_api_is_refused_with_the_right_one(stub: VaultStub, word: str) -> None:
    place = destination(stub, f"secret/{word}/apps/backend")
    for act in (place.preflight, lambda: deliver(place)):
        with pytest.raises(DestinationError, match="Write vault:secret/apps/backend") as caught:
            act()
        assert caught.value.permanent
    assert place.read().digest is None


def test_a_secret_that_is_really_called_data_is_one(stub: VaultStub) -> None:
    stub.put("secret", "data/apps/backend", {"OTHER": "1"})
    place = destination(stub, "secret/data/apps/backend")
    place.preflight()
    assert deliver(place).version == "2"


def test_in_version_1_data_is_a_name_like_any_other(stub: VaultStub) -> None:
    place = destination(stub, "plain/data/apps/backend")
    place.preflight()
    deliver(place)


def _surroundings(vault: Server, **settings: str) -> Surroundings:
    return Surroundings(Path("/nowhere"), {"addr": vault.address, "token": vault.root_token, **settings})
