"""What a server refuses, and whether it is asked again: a question twice more, a change never."""

from typing import Any
from unittest import mock

import pytest

from mushu.destination import Conflict, DestinationError
from mushu_vault.connection import ServerAdapter
from tests.plugins.mushu_vault.places import FIELD, KEY, at, begun_write, data_path, hasty, refused
from tests.vault.bao import Address
from tests.vault.server import VaultStub

_PATH = "apps/backend"


@pytest.mark.parametrize(
    ("status", "text", "permanent"),
    [
        (400, "invalid request", True),
        (404, "no handler for route", True),
        (405, "unsupported operation", True),
        (413, "request too large", True),
        (418, "teapot", True),
        (400, "Upgrading from non-versioned to versioned data.", False),
        (412, "required index state not present", False),
        (429, "rate limit", False),
        (472, "standby", False),
        (473, "standby", False),
        (500, "internal error", False),
        (501, "not initialized", False),
        (502, "bad gateway", False),
        (503, "Vault is sealed", False),
        (599, "?", False),
    ],
)
def test_each_refusal_says_whether_to_try_again(stub: VaultStub, status: int, text: str, permanent: bool) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = hasty(stub)
    expected = place.read().version
    stub.fault("error-before", "*", data_path("secret"), times=-1, status=status, text=f"{text} hunter2")
    for act in (place.read, place.preflight, lambda: place.write(KEY, at(expected))):
        with pytest.raises(DestinationError) as caught:
            act()
        assert caught.value.permanent is permanent
        assert not isinstance(caught.value, Conflict)
        assert "hunter2" not in str(caught.value), "what a server says is not repeated"
        assert str(caught.value).endswith(".")
        assert stub.address in str(caught.value)


@pytest.mark.fault
@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (413, "http: request body too large"),
        (500, "1 error occurred:\n\t* put failed due to value being too large; got 156 bytes, max 1048576 bytes\n\n"),
    ],
)
def test_a_secret_that_is_too_large_is_refused_for_good(stub: VaultStub, mount: str, status: int, text: str) -> None:
    """The second is what OpenBao 2.7 says where Raft has reached its limit, of 1 MiB."""
    write = begun_write(stub, mount)
    stub.fault("error-before", "P*", data_path(mount), times=-1, status=status, text=text)
    refused(write, "finds the secret too large, and wrote nothing", permanent=True)
    assert stub.kv(mount, _PATH) is None


@pytest.mark.fault
def test_a_secret_that_is_nearly_full_is_warned_of_before_the_key_is_made(
    stub: VaultStub, caplog: pytest.LogCaptureFixture
) -> None:
    for size, field, warned in (
        (10**6, "A", False),
        (1_048_400, "A", True),
        (1_060_000, "A", False),
        (99, FIELD, False),
    ):
        stub.put("secret", _PATH, {"OTHER": "x" * size, field: "x" * (1_048_400 - size if field == FIELD else 0)})
        hasty(stub).preflight()
        assert ("A secret of its own" in caplog.text) is warned
        caplog.clear()


@pytest.mark.parametrize("status", [400, 405, 413, 429, 412])
def test_a_write_that_was_certainly_refused_is_not_looked_for(stub: VaultStub, status: int) -> None:
    write = begun_write(stub, "secret")
    stub.fault("error-before", "P*", data_path("secret"), times=-1, status=status, text="refused")
    before = len(stub.requests)
    refused(write, permanent=(status not in (412, 429)))
    assert [request.method for request in stub.requests[before:]] == ["GET", "GET", "POST"]


def test_a_sealed_server_is_waited_for(stub: VaultStub) -> None:
    place = hasty(stub)
    write = begun_write(stub, "secret")
    stub.fault("error-before", times=-1, status=503, text="Vault is sealed")
    for act in (place.preflight, place.read, write, lambda: place.remove(KEY.digest())):
        refused(act, "unseal it", permanent=False)
    stub.clear_faults()
    write()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (
            "https://active.example:8200/v1/secret/data/x?token=hunter2",
            "Set VAULT_ADDR to https://active.example:8200,",
        ),
        ("https://user:hunter2@active.example/x", "Set VAULT_ADDR to https://active.example,"),
        ("//hunter2/x", "of the active Vault itself"),
        ("javascript://hunter2", "of the active Vault itself"),
        ("https://hunter2 x/", "of the active Vault itself"),
        ("https://[hunter2/", "of the active Vault itself"),
        ("", "of the active Vault itself"),
    ],
)
def test_a_redirect_is_not_followed_and_says_where_to_go(stub: VaultStub, location: str, shown: str) -> None:
    place = hasty(stub)
    write = begun_write(stub, "secret")
    for pattern in ("sys/internal/*", data_path("secret")):
        stub.clear_faults()
        stub.fault("redirect", "*", pattern, times=-1, location=location)
        for act in (place.read, write):
            said = refused(act, "sends us elsewhere", permanent=True)
            assert shown in said
            assert "hunter2" not in said


def test_no_key_follows_a_redirect(openbao: Address, stub: VaultStub) -> None:
    with VaultStub(openbao) as other:
        write = begun_write(stub, "secret")
        stub.fault("redirect", times=-1, location=f"{other.address}/v1/{data_path('secret')}")
        refused(write, f"Set VAULT_ADDR to {other.address}")
        assert other.requests == []


# Asking again


@pytest.mark.parametrize("kind", ["cut-before", "error-before"])
def test_a_question_is_asked_again_twice(stub: VaultStub, kind: Any) -> None:
    place = hasty(stub)
    stub.fault(kind, "GET", data_path("secret"), times=2)
    assert place.read().digest is None
    stub.fault(kind, "GET", data_path("secret"), times=3)
    refused(place.read, permanent=False)


def test_a_change_is_never_sent_twice(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    write = begun_write(stub, "secret")
    stub.fault("error-before", "PATCH", data_path("secret"), times=-1)
    refused(write)
    assert [request.method for request in stub.requests].count("PATCH") == 1


def test_nobody_waits_three_times_for_a_server_that_does_not_answer(stub: VaultStub) -> None:
    place = hasty(stub)
    stub.fault("delay", "GET", data_path("secret"), times=-1, seconds=30)
    with (
        mock.patch.object(ServerAdapter, "send", autospec=True, side_effect=ServerAdapter.send) as send,
        pytest.raises(DestinationError, match="MUSHU_VAULT_TIMEOUT"),
    ):
        place.read()
    assert [call.args[1].url for call in send.mock_calls].count(f"{stub.address}/v1/{data_path('secret')}") == 1
