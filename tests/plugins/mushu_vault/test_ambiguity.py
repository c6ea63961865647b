"""Answers that are lost, late, half, wrong or lies: what is certain is said, and what is not is looked at."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from mushu.destination import Conflict
from tests.plugins.mushu_vault.places import (
    FIELD,
    FOREIGN,
    KEY,
    answers_lost,
    at,
    begun_write,
    data_path,
    deliver,
    fields_of,
    hasty,
    refused,
)
from tests.vault.server import VaultStub

pytestmark = pytest.mark.unmeasured

_PATH = "apps/backend"

_STATES: list[dict[str, str]] = [{}, {"OTHER": "1"}, {"OTHER": "1", FIELD: FOREIGN}]


@pytest.mark.parametrize(
    ("mount", "kind", "before"),
    [
        *((mount, "cut-after", before) for mount in ("secret", "plain") for before in _STATES),
        # Where nothing is answered, KV 1 says 204, which has no body that could be spoiled.
        *(("secret", kind, _STATES[2]) for kind in ("error-after", "invalid-json", "html", "drip", "huge")),
    ],
)
def test_a_write_that_was_made_is_found_whatever_came_of_its_answer(
    stub: VaultStub, kind: Any, before: dict[str, str], mount: str
) -> None:
    if before:
        stub.put(mount, _PATH, before)
    write = begun_write(stub, mount)
    fault = stub.fault(kind, "P*", data_path(mount), seconds=0.1)
    receipt: Any = write()
    assert fault.hits == 1
    place = hasty(stub, mount)
    assert (receipt.version, receipt.digest) == (place.read().version, KEY.digest())
    assert fields_of(stub, mount) == {**before, FIELD: KEY.reveal()}
    assert place.restore(receipt)
    assert place.read().digest != KEY.digest()


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("before", _STATES[::2])
@pytest.mark.parametrize("kind", ["cut-before", "error-before", "errors-in-200"])
def test_a_write_that_was_not_made_may_still_be_and_is_made_when_tried_again(
    stub: VaultStub, kind: Any, before: dict[str, str], mount: str
) -> None:
    if before:
        stub.put(mount, _PATH, before)
    write = begun_write(stub, mount)
    stub.fault(kind, "P*", data_path(mount))
    refused(write, "So far, it is not there", permanent=False)
    write()
    assert fields_of(stub, mount) == {**before, FIELD: KEY.reveal()}


def test_a_write_that_is_still_on_its_way_may_arrive_and_is_found_when_tried_again(stub: VaultStub) -> None:
    write = begun_write(stub, "secret")
    fault = stub.fault("hold", "POST", data_path("secret"))
    refused(write, "no whole answer within", permanent=False)
    fault.released.set()
    place = hasty(stub)
    deadline = time.monotonic() + 10
    while place.read().digest is None:
        assert time.monotonic() < deadline
    receipt: Any = write()
    assert (receipt.version, receipt.undo) == ("1", None)


@pytest.mark.parametrize("kind", ["cut-before", "error-before", "html", "invalid-json", "rate-limit"])
def test_where_it_cannot_be_seen_what_came_of_it_that_is_said(stub: VaultStub, kind: Any) -> None:
    write = begun_write(stub, "secret")
    stub.fault("cut-after", "POST", data_path("secret"))
    stub.fault(kind, "GET", data_path("secret"), times=3, skip=1)
    refused(write, "Whether it was written is not known", permanent=False)


def test_a_token_that_ends_between_an_unclear_write_and_the_look_is_no_refusal(stub: VaultStub) -> None:
    stub.policy("keys", {"secret/data/*": ["create", "read", "patch"]})
    token = stub.token(["keys"])
    place = hasty(stub, token=token)
    attempt = at(place.read().version)
    stub.fault("cut-after", "POST", data_path("secret"))
    stub.before(lambda: stub.revoke(token), "GET", data_path("secret"), skip=1)
    refused(lambda: place.write(KEY, attempt), permanent=False)


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("act", ["restore", "remove"])
@pytest.mark.parametrize("neighbours", [{}, {"OTHER": "1"}])
def test_taking_a_key_back_is_settled_the_same_way(
    stub: VaultStub, act: str, mount: str, neighbours: dict[str, str]
) -> None:
    if neighbours:
        stub.put(mount, _PATH, neighbours)
    place = hasty(stub, mount)
    receipt = deliver(place)
    with answers_lost(data_path(mount)):
        assert place.restore(receipt) if act == "restore" else place.remove(KEY.digest())
    assert place.read().digest is None


@pytest.mark.parametrize("kind", ["cut-before", "error-before"])
def test_taking_a_key_back_that_did_not_happen_passes(stub: VaultStub, kind: Any) -> None:
    place = hasty(stub)
    receipt = deliver(place)
    stub.fault(kind, "PATCH", data_path("secret"), times=2)
    acts: list[Callable[[], bool]] = [lambda: place.restore(receipt), lambda: place.remove(KEY.digest())]
    for act in acts:
        refused(act, permanent=False)
    assert place.remove(KEY.digest())


# Lies


def test_a_server_that_accepts_and_loses_is_found_out_by_reading(stub: VaultStub) -> None:
    """The receipt says what the server said. That a caller reads back is what makes a key active."""
    place = hasty(stub)
    stub.fault("lost", "POST", data_path("secret"))
    assert deliver(place).version == "1"
    assert place.read().digest is None


def test_a_stale_read_makes_no_one_overwrite(stub: VaultStub) -> None:
    place = hasty(stub)
    expected = place.read().version
    stub.fault("stale", "GET", data_path("secret"), times=2)
    stub.put("secret", _PATH, {FIELD: FOREIGN})
    with pytest.raises(Conflict):
        place.write(KEY, at(expected))
    assert fields_of(stub, "secret") == {FIELD: FOREIGN}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": {"version": "2"}}',
        b'{"data": {"version": 7}}',
        b'{"data": {"version": -2}}',
        b'{"data": {"version": 2.0}}',
        b'{"data": {"version": true}}',
        b'{"data": {"version": 2e0}}',
        b'{"data": {"version": NaN}}',
        b'{"data": {"version": ' + b"9" * 5000 + b"}}",
        b'{"data":' * 2000 + b"1" + b"}" * 2000,
        b"\xff\xfe{}",
    ],
)
def test_an_answer_to_a_write_that_proves_nothing_is_looked_into(stub: VaultStub, body: bytes) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = hasty(stub)
    expected = place.read().version
    stub.fault("body-after", "PATCH", body=body)
    receipt = place.write(KEY, at(expected))
    assert (receipt.version, receipt.digest) == ("2", KEY.digest())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": {"data": {}}}',
        b'{"data": {"data": [], "metadata": {"version": 1}}}',
        b'{"data": {"data": {}, "metadata": {"version": "1"}}}',
        b'{"data": {"data": {"MUSHU_API_KEY": ' + b"[" * 200 + b"]" * 200 + b'}, "metadata": {"version": 1}}}',
        b'{"errors": ["no"]}',
    ],
)
def test_an_answer_to_a_read_that_is_none_is_never_taken_for_absence(stub: VaultStub, body: bytes) -> None:
    place = hasty(stub)
    stub.fault("body-after", "GET", "*/data/*", times=-1, body=body)
    for act in (place.read, lambda: place.remove(KEY.digest())):
        refused(act, "not Vault's, or not whole", permanent=False)


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("text", ["no handler for route", "namespace not found"])
def test_not_every_404_is_absence(stub: VaultStub, mount: str, text: str) -> None:
    stub.fault("error-before", "GET", data_path(mount), status=404, text=text)
    refused(hasty(stub, mount).read, "VAULT_ADDR and the namespace", permanent=True)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": {"path": "secret/"}}', b'{"data": {"type": "kv"}}'])
def test_an_answer_about_the_mount_that_is_none_is_not_guessed_at(stub: VaultStub, body: bytes) -> None:
    stub.fault("body-after", "GET", "*/internal/*", times=-1, body=body)
    refused(hasty(stub).read, "not Vault's, or not whole", permanent=False)


@pytest.mark.parametrize("kind", ["drip", "huge"])
def test_an_answer_without_end_ends(stub: VaultStub, kind: Any) -> None:
    place = hasty(stub)
    stub.fault(kind, "GET", data_path("secret"), times=-1, seconds=0.05)
    refused(place.read, r"no whole answer within|more than any secret", permanent=False)
