"""What a write, a restore and a removal do to a secret, its versions and its neighbours."""

from pathlib import Path

import pytest

from mushu.destination import Conflict, Surroundings, digest_of
from tests.plugins.mushu_vault.places import (
    FIELD,
    FOREIGN,
    KEY,
    NEXT,
    at,
    deliver,
    destination,
    fields_of,
    metadata_of,
    refused,
)
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def test_the_version_is_the_number_that_people_see(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().version == "0"
    assert deliver(place).version == "1"
    assert deliver(place, NEXT).version == place.read().version == "2"


def test_a_version_that_is_deleted_is_another_version(vault: RealVault, kv2: str) -> None:
    """Its number stays the same, and the value is gone: without a word for it, a write would not notice."""
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    seen = place.read()
    vault.do("DELETE", f"{kv2}/data/{_PATH}")
    assert (place.read().version, place.read().digest) == ("1-deleted", None)
    with pytest.raises(Conflict):
        place.write(NEXT, at(seen.version))


@pytest.mark.parametrize("act", ["DELETE data", "POST destroy"])
def test_a_secret_that_was_deleted_is_written_on_at_its_real_version(vault: RealVault, kv2: str, act: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1"})
    vault.put(kv2, _PATH, {"OTHER": "2"})
    method, what = act.split()
    vault.ask(method, f"{kv2}/{what}/{_PATH}", {"versions": [2]} if method == "POST" else None)
    place = destination(vault, f"{kv2}/{_PATH}")
    receipt = deliver(place)
    assert receipt.version == "3"
    assert fields_of(vault, kv2) == {FIELD: KEY.reveal()}
    assert fields_of(vault, kv2, 1) == {"OTHER": "1"}
    assert place.restore(receipt)
    assert (place.read().version, place.read().digest) == ("4-deleted", None)


def test_where_every_write_must_compare_ours_do(vault: RealVault) -> None:
    vault.mount("mushu-strict", cas_required=True)
    place = destination(vault, f"mushu-strict/{_PATH}")
    receipt = deliver(place)
    assert place.restore(receipt)
    deliver(place, NEXT)
    assert place.remove(NEXT.digest())
    assert [place.read().version, place.read().digest] == ["4-deleted", None]


def test_a_mount_with_slashes_in_its_name_is_found(vault: RealVault) -> None:
    vault.mount("mushu-team/kv/two")
    place = destination(vault, f"mushu-team/kv/two/{_PATH}")
    place.preflight()
    deliver(place)
    assert fields_of(vault, "mushu-team/kv/two") == {FIELD: KEY.reveal()}


def test_a_namespace_is_written_to_whether_the_uri_or_the_settings_name_it(vault: RealVault) -> None:
    vault.namespace("mushu-ns")
    vault.mount("kv", namespace="mushu-ns")
    by_uri = destination(vault, f"kv/{_PATH}", namespace="elsewhere")
    made = type(by_uri).parse(f"vault:kv/{_PATH}?namespace=mushu-ns", _surroundings(vault, namespace="elsewhere"))
    assert made is not None
    made.preflight()
    deliver(made)
    by_setting = destination(vault, f"kv/{_PATH}", namespace="mushu-ns")
    assert by_setting.read().digest == KEY.digest()
    # The path of a mount as the uppermost namespace sees it leads there, too.
    assert destination(vault, f"mushu-ns/kv/{_PATH}").read().digest == KEY.digest()


def test_a_neighbour_that_moves_between_look_and_write_is_no_conflict(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    for before in ({}, {FIELD: FOREIGN}):
        vault.put(kv2, _PATH, {"OTHER": "1", **before})
        seen = place.read()
        vault.put(kv2, _PATH, {"OTHER": "2", **before})
        place.write(KEY, at(seen.version))
        assert fields_of(vault, kv2) == {"OTHER": "2", FIELD: KEY.reveal()}


def test_neighbours_that_came_to_a_path_that_was_empty_are_no_conflict(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    seen = place.read()
    vault.put(kv2, _PATH, {"OTHER": "1"})
    place.write(KEY, at(seen.version))
    assert fields_of(vault, kv2) == {"OTHER": "1", FIELD: KEY.reveal()}


@pytest.mark.parametrize("expected", ["7", "1", "x", "", "v1-0123"])
def test_a_version_that_cannot_be_looked_at_any_more_is_a_conflict(vault: RealVault, expected: str) -> None:
    vault.mount("mushu-short", max_versions=1)
    for number in range(3):
        vault.put("mushu-short", _PATH, {"OTHER": str(number), FIELD: FOREIGN})
    with pytest.raises(Conflict, match="Nothing was written") as caught:
        destination(vault, f"mushu-short/{_PATH}").write(KEY, at(expected))
    assert caught.value.__context__ is None
    assert fields_of(vault, "mushu-short") == {"OTHER": "2", FIELD: FOREIGN}


@pytest.mark.parametrize("former", [5, 1.5, True, ["a", None, {"b": None}], {"a": None, "b": {"c": []}}])
def test_a_value_that_is_no_text_is_foreign_and_comes_back_as_it_was(
    vault: RealVault, kv2: str, former: object
) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1", FIELD: former})
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().digest is not None
    receipt = deliver(place)
    assert fields_of(vault, kv2) == {"OTHER": "1", FIELD: KEY.reveal()}
    vault.put(kv2, _PATH, {"OTHER": "2", FIELD: KEY.reveal()})
    assert place.restore(receipt)
    assert fields_of(vault, kv2) == {"OTHER": "2", FIELD: former}


def test_what_is_no_text_is_known_by_the_digest_of_its_json(vault: RealVault, kv2: str) -> None:
    vault.put(kv2, _PATH, {FIELD: {"b": [1, True], "a": "ü"}})
    assert destination(vault, f"{kv2}/{_PATH}").read().digest == digest_of('{"a":"\\u00fc","b":[1,true]}')


@pytest.mark.parametrize("empty", ["", None])
def test_a_placeholder_is_filled_and_empty_again_afterwards(vault: RealVault, kv2: str, empty: object) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1", FIELD: empty})
    place = destination(vault, f"{kv2}/{_PATH}")
    assert place.read().digest is None
    receipt = deliver(place)
    assert place.restore(receipt)
    assert place.read().digest is None
    assert fields_of(vault, kv2) == {"OTHER": "1"} | ({FIELD: ""} if empty == "" else {})


@pytest.mark.parametrize("field", ["data", "options", " ", "a/b", "ü☃🗝", "nul\0", "a.b", "{{x}}", 'quo"te\\'])
def test_any_name_of_a_field_is_just_a_name(vault: RealVault, kv2: str, field: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1"})
    place = destination(vault, f"{kv2}/{_PATH}", field)
    receipt = deliver(place)
    assert fields_of(vault, kv2) == {"OTHER": "1", field: KEY.reveal()}
    assert place.restore(receipt)
    assert fields_of(vault, kv2) == {"OTHER": "1"}


@pytest.mark.parametrize("path", ["a b/c", "ü/☃", "100%", "a?b", "a#b", "a:b@c", "a&b=c", "a+b", "a;b", "%2e%2e"])
def test_any_path_is_reached_as_it_is_written(vault: RealVault, kv2: str, path: str) -> None:
    deliver(destination(vault, f"{kv2}/{path}"))
    found = vault.ask("GET", f"{kv2}/data/{path}")
    assert found["data"]["data"] == {FIELD: KEY.reveal()}


def test_a_removed_key_leaves_its_neighbours_and_every_version_before(vault: RealVault, kv2: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1"})
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert fields_of(vault, kv2) == fields_of(vault, kv2, 1) == {"OTHER": "1"}
    assert fields_of(vault, kv2, 2) == {"OTHER": "1", FIELD: KEY.reveal()}


def test_a_secret_that_is_left_empty_is_deleted_and_its_history_is_not(vault: RealVault, kv2: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1"})
    vault.put(kv2, _PATH, {FIELD: KEY.reveal()})
    assert destination(vault, f"{kv2}/{_PATH}").remove(KEY.digest())
    versions = metadata_of(vault, kv2)["versions"]
    assert versions["3"]["deletion_time"]
    assert not any(version["destroyed"] for version in versions.values())
    assert fields_of(vault, kv2, 1) == {"OTHER": "1"}


def test_a_neighbour_that_comes_while_the_empty_version_is_deleted_is_not_hit(stub: VaultStub) -> None:
    place = destination(stub, "secret/apps/backend")
    deliver(place)
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": "1"}), "POST", "secret/delete/*")
    assert place.remove(KEY.digest())
    assert fields_of(stub, "secret") == {"OTHER": "1"}


def test_a_receipt_of_a_key_that_was_there_already_cannot_be_undone(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    again = deliver(place)
    assert again.undo is None
    refused(lambda: place.restore(again), "nothing to go back to", permanent=True)
    assert place.read().digest == KEY.digest()


def test_the_undo_holds_our_own_former_value_and_no_neighbour(vault: RealVault, kv2: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "neighbour", FIELD: FOREIGN})
    undo = deliver(destination(vault, f"{kv2}/{_PATH}")).undo
    assert undo is not None
    assert FOREIGN in undo.reveal()
    assert "neighbour" not in undo.reveal()
    assert FOREIGN not in f"{undo!r} {undo}"


# Paths that are copied from the API


@pytest.mark.fault
@pytest.mark.parametrize("word", ["data", "metadata"])
def test_a_path_of_the_api_is_refused_with_the_right_one(stub: VaultStub, word: str) -> None:
    place = destination(stub, f"secret/{word}/apps/backend", "KEY")
    for act in (place.preflight, lambda: deliver(place)):
        refused(act, r"Write vault:secret/apps/backend#KEY\.", permanent=True)
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


def _surroundings(vault: RealVault, **settings: str) -> Surroundings:
    return Surroundings(Path("/nowhere"), {"addr": vault.address, "token": vault.root_token, **settings})
