"""The metadata names the key, beside what others wrote there, and no delivery fails for it."""

from typing import Any

import pytest

from mushu.destination import Secret
from mushu.destination.safe import remarks
from tests.plugins.mushu_vault.places import FIELD, KEY, NEXT, deliver, destination, metadata_of
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def test_the_metadata_names_the_key_beside_what_others_wrote_there(vault: RealVault, kv2: str) -> None:
    vault.put(kv2, _PATH, {"OTHER": "1"})
    vault.do("POST", f"{kv2}/metadata/{_PATH}", {"custom_metadata": {"owner": "x"}, "max_versions": 5})
    place = destination(vault, f"{kv2}/{_PATH}")
    first = deliver(place, KEY, "key_1")
    assert metadata_of(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_1"}
    second = deliver(place, NEXT, "key_2")
    assert metadata_of(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_2"}
    assert place.restore(second)
    assert metadata_of(vault, kv2)["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_1"}
    assert place.restore(first)
    assert metadata_of(vault, kv2)["custom_metadata"] == {"owner": "x"}
    assert metadata_of(vault, kv2)["max_versions"] == 5


def test_the_name_of_a_key_that_is_gone_goes_too(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place)
    assert place.remove(KEY.digest())
    assert not metadata_of(vault, kv2)["custom_metadata"]


def test_what_is_no_key_is_named_by_nobody(vault: RealVault, kv2: str) -> None:
    place = destination(vault, f"{kv2}/{_PATH}")
    deliver(place, KEY, "key_1")
    deliver(place.beside("MUSHU_URL"), Secret("https://keys.example.com"), "")
    assert metadata_of(vault, kv2)["custom_metadata"] == {f"mushu_{FIELD}": "key_1"}


def test_a_write_that_finds_its_key_mends_the_name(vault: RealVault, kv2: str) -> None:
    """A process may have been killed between the two."""
    vault.put(kv2, _PATH, {FIELD: KEY.reveal()})
    deliver(destination(vault, f"{kv2}/{_PATH}"), KEY, "key_9")
    assert metadata_of(vault, kv2)["custom_metadata"] == {f"mushu_{FIELD}": "key_9"}


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
    stub.do("POST", f"secret/metadata/{_PATH}", {"custom_metadata": {"owner": "x"}})
    place = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    assert deliver(place).version == "2"
    entries = metadata_of(stub, "secret")["custom_metadata"]
    assert entries == {"owner": "x"} | ({f"mushu_{FIELD}": "key_1"} if named else {})


@pytest.mark.fault
@pytest.mark.parametrize("where", ["secret/config", f"secret/metadata/{_PATH}"], ids=["mount", "secret"])
@pytest.mark.parametrize("capabilities", [["read", "patch"], ["read", "update"]])
def test_where_changes_of_metadata_need_its_version_they_are_made_to_it(
    stub: VaultStub, capabilities: list[str], where: str
) -> None:
    stub.policy("keys", {**_DATA, "secret/metadata/*": capabilities})
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.do("POST", where, {"metadata_cas_required": True})
    place = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    deliver(place, KEY, "key_1")
    path, version = f"secret/metadata/{_PATH}", metadata_of(stub, "secret")["current_metadata_version"]
    stranger = {"custom_metadata": {"owner": "x"}, "metadata_cas": version}
    stub.before(lambda: stub.do("POST", path, stranger), "P*", path, skip=1)
    deliver(place, NEXT, "key_2")
    assert metadata_of(stub, "secret")["custom_metadata"] == {"owner": "x", f"mushu_{FIELD}": "key_2"}


@pytest.mark.fault
def test_metadata_that_names_another_key_is_told_of(stub: VaultStub, caplog: pytest.LogCaptureFixture) -> None:
    """Where the leave to name keys was lost."""
    stub.policy("keys", _DATA)
    place = destination(stub, f"secret/{_PATH}")
    deliver(place, KEY, "key_1")
    assert remarks(place.read(), "key_1") == ""
    limited = destination(stub, f"secret/{_PATH}", token=stub.token(["keys"]))
    deliver(limited, NEXT, "key_2")
    said = "key_1 is named beside it, which is another. Let the token read and patch secret/metadata/apps/backend"
    assert said in remarks(limited.read(), "key_2")
    assert limited.remove(NEXT.digest())
    assert "names another key than what is there" in caplog.text


@pytest.mark.fault
@pytest.mark.parametrize(("hours", "warned"), [(1, True), (200, False)])
def test_a_version_that_the_server_deletes_soon_is_warned_of(stub: VaultStub, hours: int, warned: bool) -> None:
    stub.do("POST", f"secret/metadata/{_PATH}", {"delete_version_after": f"{hours}h"})
    place = destination(stub, f"secret/{_PATH}")
    deliver(place)
    assert ("Vault deletes this version" in remarks(place.read(), "key_1")) is warned
    assert place.remove(KEY.digest())
    assert place.read().warnings == ()


@pytest.mark.parametrize("kind", ["cut-before", "cut-after", "error-before", "html", "invalid-json", "redirect"])
def test_whatever_happens_to_the_name_the_key_is_delivered(stub: VaultStub, kind: Any) -> None:
    stub.fault(kind, "*", "secret/metadata/*", times=9)
    receipt = deliver(destination(stub, f"secret/{_PATH}"))
    assert receipt.version == "1"
