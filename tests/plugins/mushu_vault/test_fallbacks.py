"""Where there is no merge patch: a policy without it, a server that knows none, and version 1 of the engine."""

import pytest
import requests

from mushu.destination import Secret, digest_of
from tests.plugins.mushu_vault.places import FIELD, KEY, at, deliver, destination, fields_of, metadata_of, refused
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

_PATH = "apps/backend"


@pytest.mark.parametrize("capabilities", [["read", "update"], ["read", "patch"], ["read", "update", "patch"]])
def test_with_either_capability_one_field_is_changed_and_no_other(stub: VaultStub, capabilities: list[str]) -> None:
    stub.policy("keys", {"secret/data/apps/*": capabilities})
    stub.put("secret", _PATH, {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: "old"})
    place = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    receipt = deliver(place)
    assert fields_of(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: KEY.reveal()}
    assert place.restore(receipt)
    assert fields_of(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}], FIELD: "old"}
    assert place.remove(digest_of("old"))
    assert fields_of(stub, "secret") == {"OTHER": "1", "odd": [1.5, {"x": None}]}


@pytest.mark.parametrize("status", [405, 415])
def test_a_server_that_knows_no_patch_is_written_to_as_a_whole(stub: VaultStub, status: int) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.fault("error-before", "PATCH", times=-1, status=status)
    deliver(destination(stub, f"secret/{_PATH}"))
    assert fields_of(stub, "secret") == {"OTHER": "1", FIELD: KEY.reveal()}
    assert metadata_of(stub, "secret")["custom_metadata"] == {f"mushu_{FIELD}": "key_1"}


def test_a_whole_write_is_made_to_the_version_that_was_read(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.fault("error-before", "PATCH", times=-1, status=405)
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": "2"}), "POST", f"secret/data/{_PATH}")
    deliver(destination(stub, f"secret/{_PATH}"))
    assert fields_of(stub, "secret") == {"OTHER": "2", FIELD: KEY.reveal()}


def test_in_version_1_numbers_of_neighbours_keep_their_digits(vault: RealVault, kv1: str) -> None:
    numbers = '{"OTHER": 12345678901234567890, "PRICE": 1.10, "TINY": 1E-400}'
    with requests.Session() as session:
        session.trust_env = False
        headers = {"X-Vault-Token": vault.root_token}
        session.post(f"{vault.address}/v1/{kv1}/{_PATH}", data=numbers, headers=headers, timeout=30)
        place = destination(vault, f"{kv1}/{_PATH}")
        receipt = deliver(place)
        held = session.get(f"{vault.address}/v1/{kv1}/{_PATH}", headers=headers, timeout=30).text
    assert "12345678901234567890" in held
    assert "1.10" in held
    assert place.restore(receipt)


def test_in_version_1_the_last_field_takes_the_secret_with_it(vault: RealVault, kv1: str) -> None:
    place = destination(vault, f"{kv1}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert vault.ask("GET", f"{kv1}/{_PATH}") == {"errors": []}


def test_in_version_1_without_leave_to_delete_the_value_is_emptied(stub: VaultStub) -> None:
    stub.policy("keys", {"plain/*": ["create", "read", "update"]})
    place = destination(stub, f"plain/{_PATH}", token=stub.token(["keys"]))
    deliver(place)
    assert place.remove(KEY.digest())
    assert place.read().digest is None
    assert stub.ask("GET", f"plain/{_PATH}")["data"] == {FIELD: ""}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data": null}', b"<html>"])
def test_in_version_1_an_answer_that_is_none_is_never_taken_for_absence(stub: VaultStub, body: bytes) -> None:
    stub.put("plain", _PATH, {"OTHER": "1"})
    stub.fault("body-after", "GET", f"plain/{_PATH}", times=-1, body=body)
    refused(destination(stub, f"plain/{_PATH}").read, "not Vault's, or not whole", permanent=False)


@pytest.mark.parametrize(("status", "permanent"), [(413, True), (429, False)])
def test_in_version_1_a_write_that_is_refused_was_not_made(stub: VaultStub, status: int, permanent: bool) -> None:
    stub.fault("error-before", "P*", f"plain/{_PATH}", status=status)
    refused(lambda: deliver(destination(stub, f"plain/{_PATH}")), permanent=permanent)
    assert stub.kv("plain", _PATH) is None


def test_in_version_1_a_version_tells_nobody_anything_about_a_foreign_value(vault: RealVault, kv1: str) -> None:
    place = destination(vault, f"{kv1}/{_PATH}")
    vault.do("POST", f"{kv1}/{_PATH}", {FIELD: "1234"})
    version = place.read().version
    assert digest_of("1234")[:16] not in version
    assert digest_of('"1234"')[:16] not in version
    assert version == place.read().version


def test_a_value_that_json_cannot_carry_is_refused_before_anything_is_asked(stub: VaultStub) -> None:
    refused(
        lambda: destination(stub, f"secret/{_PATH}").write(Secret("msk_\udcff"), at("0")), "no text", permanent=True
    )
    assert stub.requests == []
