"""Answers that are lost, late, half, wrong or lies: what is certain is said, and what is not is looked at."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mushu.destination import Attempt, Conflict, DestinationError
from mushu_vault.wire import WireAdapter
from tests.plugins.mushu_vault.places import FIELD, FOREIGN, KEY, NEXT, answers_lost, asked, deliver, destination
from tests.vault.server import VaultStub

_PATH = "apps/backend"

#: Faults after which the change is made, and before which it is not.
_AFTER = ("cut-after", "error-after", "invalid-json", "html", "drip", "huge")
_BEFORE = ("cut-before", "error-before", "errors-in-200", "lost")


def _place(stub: VaultStub, mount: str = "secret", **settings: str) -> Any:
    return destination(stub, f"{mount}/{_PATH}", timeout="0.4", **settings)


def _data(mount: str) -> str:
    return f"{mount}/data/{_PATH}" if mount == "secret" else f"{mount}/{_PATH}"


def _fields(stub: VaultStub, mount: str) -> Any:
    found = asked(stub, "GET", _data(mount))["data"]
    return found["data"] if mount == "secret" else found


def _write(stub: VaultStub, mount: str) -> Callable[[], object]:
    place = _place(stub, mount)
    attempt = Attempt("att_1", "key_1", place.read().version)
    return lambda: place.write(KEY, attempt)


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("before", [{}, {"OTHER": "1"}, {"OTHER": "1", FIELD: FOREIGN}])
@pytest.mark.parametrize("kind", _AFTER)
def test_a_write_that_was_made_is_found_whatever_came_of_its_answer(
    stub: VaultStub, kind: Any, before: dict[str, str], mount: str
) -> None:
    if before:
        stub.put(mount, _PATH, before)
    write = _write(stub, mount)
    # Where nothing is answered, KV 1 says 204, which has no body that could be spoiled.
    number = stub.fault(kind if mount == "secret" else "cut-after", "P*", _data(mount), seconds=0.1)
    receipt: Any = write()
    assert stub.fault_hits(number) == 1
    place = _place(stub, mount)
    assert (receipt.version, receipt.digest) == (place.read().version, KEY.digest())
    assert _fields(stub, mount) == {**before, FIELD: KEY.reveal()}
    assert place.restore(receipt)
    assert place.read().digest != KEY.digest()


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("before", [{}, {"OTHER": "1", FIELD: FOREIGN}])
@pytest.mark.parametrize("kind", ["cut-before", "error-before", "errors-in-200"])
def test_a_write_that_was_not_made_may_still_be_and_is_made_when_tried_again(
    stub: VaultStub, kind: Any, before: dict[str, str], mount: str
) -> None:
    if before:
        stub.put(mount, _PATH, before)
    write = _write(stub, mount)
    stub.fault(kind, "P*", _data(mount))
    with pytest.raises(DestinationError, match="So far, it is not there") as caught:
        write()
    assert not caught.value.permanent
    assert caught.value.__context__ is None
    write()
    assert _fields(stub, mount) == {**before, FIELD: KEY.reveal()}


def test_a_write_that_is_still_on_its_way_may_arrive_and_is_found_when_tried_again(stub: VaultStub) -> None:
    write = _write(stub, "secret")
    number = stub.fault("hold", "POST", _data("secret"))
    with pytest.raises(DestinationError, match="no whole answer within") as caught:
        write()
    assert not caught.value.permanent
    stub.release(number)
    place = _place(stub)
    deadline = time.monotonic() + 10
    while place.read().digest is None:
        assert time.monotonic() < deadline
    receipt: Any = write()
    assert (receipt.version, receipt.undo) == ("1", None)


@pytest.mark.parametrize("kind", ["cut-before", "error-before", "html", "invalid-json", "rate-limit"])
def test_where_it_cannot_be_seen_what_came_of_it_that_is_said(stub: VaultStub, kind: Any) -> None:
    write = _write(stub, "secret")
    stub.fault("cut-after", "POST", _data("secret"))
    stub.fault(kind, "GET", _data("secret"), times=3, skip=1)
    with pytest.raises(DestinationError, match="Whether it was written is not known") as caught:
        write()
    assert not caught.value.permanent
    assert caught.value.__context__ is None


def test_a_token_that_ends_between_an_unclear_write_and_the_look_is_no_refusal(stub: VaultStub) -> None:
    stub.policy("keys", {"secret/data/*": ["create", "read", "patch"]})
    token = stub.token(["keys"])
    place = _place(stub, token=token)
    attempt = Attempt("att_1", "key_1", place.read().version)
    stub.fault("cut-after", "POST", _data("secret"))
    stub.before(lambda: stub.revoke(token), "GET", _data("secret"), skip=1)
    with pytest.raises(DestinationError) as caught:
        place.write(KEY, attempt)
    assert not caught.value.permanent


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("act", ["restore", "remove"])
@pytest.mark.parametrize("neighbours", [{}, {"OTHER": "1"}])
def test_taking_a_key_back_is_settled_the_same_way(
    stub: VaultStub, act: str, mount: str, neighbours: dict[str, str]
) -> None:
    if neighbours:
        stub.put(mount, _PATH, neighbours)
    place = _place(stub, mount)
    receipt = deliver(place)
    with answers_lost(_data(mount)):
        assert place.restore(receipt) if act == "restore" else place.remove(KEY.digest())
    assert place.read().digest is None


@pytest.mark.parametrize("kind", ["cut-before", "error-before"])
def test_taking_a_key_back_that_did_not_happen_passes(stub: VaultStub, kind: Any) -> None:
    place = _place(stub)
    receipt = deliver(place)
    stub.fault(kind, "PATCH", _data("secret"), times=2)
    for act in (lambda: place.restore(receipt), lambda: place.remove(KEY.digest())):
        with pytest.raises(DestinationError) as caught:
            act()
        assert not caught.value.permanent
    assert place.remove(KEY.digest())


# Refusals


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
    place = _place(stub)
    expected = place.read().version
    stub.fault("error-before", "*", _data("secret"), times=-1, status=status, text=f"{text} hunter2")
    for act in (place.read, place.preflight, lambda: place.write(KEY, Attempt("att_1", "key_1", expected))):
        with pytest.raises(DestinationError) as caught:
            act()
        assert caught.value.permanent is permanent
        assert not isinstance(caught.value, Conflict)
        assert "hunter2" not in str(caught.value), "what a server says is not repeated"
        assert str(caught.value).endswith(".")
        assert stub.address in str(caught.value)


@pytest.mark.parametrize("status", [400, 405, 413, 429, 412])
def test_a_write_that_was_certainly_refused_is_not_looked_for(stub: VaultStub, status: int) -> None:
    write = _write(stub, "secret")
    stub.fault("error-before", "P*", _data("secret"), times=-1, status=status, text="refused")
    before = len(stub.requests)
    with pytest.raises(DestinationError) as caught:
        write()
    assert caught.value.permanent is (status not in (412, 429))
    assert [request.method for request in stub.requests[before:]] == ["GET", "GET", "POST"]


def test_a_sealed_server_is_waited_for(stub: VaultStub) -> None:
    place = _place(stub)
    write = _write(stub, "secret")
    stub.seal()
    for act in (place.preflight, place.read, write, lambda: place.remove(KEY.digest())):
        with pytest.raises(DestinationError, match="unseal it") as caught:
            act()
        assert not caught.value.permanent
    stub.unseal()
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
    place = _place(stub)
    write = _write(stub, "secret")
    for pattern in ("sys/internal/*", _data("secret")):
        stub.clear_faults()
        stub.fault("redirect", "*", pattern, times=-1, location=location)
        for act in (place.read, write):
            with pytest.raises(DestinationError, match="sends us elsewhere") as caught:
                act()
            assert caught.value.permanent
            assert shown in str(caught.value)
            assert "hunter2" not in str(caught.value)


def test_no_key_follows_a_redirect(stub: VaultStub) -> None:
    with VaultStub() as other:
        other.mount("secret")
        write = _write(stub, "secret")
        stub.standby(other.address)
        with pytest.raises(DestinationError, match=f"Set VAULT_ADDR to {other.address}"):
            write()
        assert other.requests == []


# Lies


def test_a_server_that_accepts_and_loses_is_found_out_by_reading(stub: VaultStub) -> None:
    """The receipt says what the server said. That a caller reads back is what makes a key active."""
    place = _place(stub)
    stub.fault("lost", "POST", _data("secret"))
    assert deliver(place).version == "1"
    assert place.read().digest is None


def test_a_stale_read_makes_no_one_overwrite(stub: VaultStub) -> None:
    place = _place(stub)
    expected = place.read().version
    stub.fault("stale", "GET", _data("secret"), times=2)
    stub.put("secret", _PATH, {FIELD: FOREIGN})
    with pytest.raises(Conflict):
        place.write(KEY, Attempt("att_1", "key_1", expected))
    assert _fields(stub, "secret") == {FIELD: FOREIGN}


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
def test_an_answer_to_a_write_that_proves_nothing_is_looked_into(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = _place(stub)
    expected = place.read().version
    _answering(monkeypatch, "PATCH", body)
    receipt = place.write(KEY, Attempt("att_1", "key_1", expected))
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
def test_an_answer_to_a_read_that_is_none_is_never_taken_for_absence(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    place = _place(stub)
    _answering(monkeypatch, "GET", body, "/data/")
    for act in (place.read, lambda: place.remove(KEY.digest())):
        with pytest.raises(DestinationError, match="not Vault's, or not whole") as caught:
            act()
        assert not caught.value.permanent


@pytest.mark.parametrize("mount", ["secret", "plain"])
@pytest.mark.parametrize("text", ["no handler for route", "namespace not found"])
def test_not_every_404_is_absence(stub: VaultStub, mount: str, text: str) -> None:
    stub.fault("error-before", "GET", _data(mount), status=404, text=text)
    with pytest.raises(DestinationError, match="VAULT_ADDR and the namespace") as caught:
        _place(stub, mount).read()
    assert caught.value.permanent


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": {"path": "secret/"}}', b'{"data": {"type": "kv"}}'])
def test_an_answer_about_the_mount_that_is_none_is_not_guessed_at(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    _answering(monkeypatch, "GET", body, "/internal/")
    with pytest.raises(DestinationError, match="not Vault's, or not whole") as caught:
        _place(stub).read()
    assert not caught.value.permanent


@pytest.mark.parametrize("kind", ["drip", "huge"])
def test_an_answer_without_end_ends(stub: VaultStub, kind: Any) -> None:
    place = _place(stub)
    stub.fault(kind, "GET", _data("secret"), times=-1, seconds=0.05)
    begun = time.monotonic()
    with pytest.raises(DestinationError, match=r"no whole answer within 0\.4 seconds|more than any secret") as caught:
        place.read()
    assert time.monotonic() - begun < 5
    assert not caught.value.permanent


# Asking again


@pytest.mark.parametrize("kind", ["cut-before", "error-before"])
def test_a_question_is_asked_again_twice(stub: VaultStub, kind: Any) -> None:
    place = _place(stub)
    stub.fault(kind, "GET", _data("secret"), times=2)
    assert place.read().digest is None
    stub.fault(kind, "GET", _data("secret"), times=3)
    with pytest.raises(DestinationError) as caught:
        place.read()
    assert not caught.value.permanent


def test_a_change_is_never_sent_twice(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    write = _write(stub, "secret")
    stub.fault("error-before", "PATCH", _data("secret"), times=-1)
    with pytest.raises(DestinationError):
        write()
    assert [request.method for request in stub.requests].count("PATCH") == 1


def test_nobody_waits_three_times_for_a_server_that_does_not_answer(stub: VaultStub) -> None:
    place = _place(stub)
    stub.fault("delay", "GET", _data("secret"), times=-1, seconds=30)
    begun = time.monotonic()
    with pytest.raises(DestinationError, match="MUSHU_VAULT_TIMEOUT"):
        place.read()
    assert time.monotonic() - begun < 1.2


# Races with a purpose


def test_a_neighbour_that_moves_every_time_is_given_up_on_and_nothing_is_lost(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "0"})
    numbers = iter(range(1, 1000))
    write = _write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": str(next(numbers))}), "PATCH", _data("secret"), times=-1)
    with pytest.raises(DestinationError, match="20 times") as caught:
        write()
    assert not caught.value.permanent
    assert _fields(stub, "secret") == {"OTHER": "20"}


@pytest.mark.parametrize("moves", [1, 19])
def test_a_neighbour_that_moves_in_between_is_waited_for(stub: VaultStub, moves: int) -> None:
    stub.put("secret", _PATH, {"OTHER": "0"})
    numbers = iter(range(1, 1000))
    write = _write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {"OTHER": str(next(numbers))}), "PATCH", _data("secret"), times=moves)
    write()
    assert _fields(stub, "secret") == {"OTHER": str(moves), FIELD: KEY.reveal()}


@pytest.mark.parametrize("there", [{}, {"OTHER": "0"}, {FIELD: NEXT.reveal()}])
def test_a_value_that_comes_in_between_is_a_conflict(stub: VaultStub, there: dict[str, str]) -> None:
    if there:
        stub.put("secret", _PATH, there)
    write = _write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: FOREIGN}), "P*", _data("secret"))
    with pytest.raises(Conflict):
        write()
    assert _fields(stub, "secret") == {FIELD: FOREIGN}


def test_the_same_key_that_comes_in_between_is_found(stub: VaultStub) -> None:
    write = _write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: KEY.reveal()}), "POST", _data("secret"))
    receipt: Any = write()
    assert (receipt.version, receipt.undo) == ("1", None)


def test_a_secret_that_is_deleted_in_between_is_written_anew(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    write = _write(stub, "secret")
    stub.before(lambda: asked(stub, "DELETE", _data("secret")), "PATCH", _data("secret"))
    write()
    assert _fields(stub, "secret") == {FIELD: KEY.reveal()}


@pytest.mark.parametrize("act", ["restore", "remove"])
def test_a_value_that_comes_while_the_key_is_taken_back_stays(stub: VaultStub, act: str) -> None:
    place = _place(stub)
    receipt = deliver(place)
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: FOREIGN}), "PATCH", _data("secret"))
    assert not (place.restore(receipt) if act == "restore" else place.remove(KEY.digest()))
    assert _fields(stub, "secret") == {FIELD: FOREIGN}


def test_many_writers_of_different_fields_lose_nothing(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    writers, rounds = 6, 5
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(rounds):
                deliver(destination(stub, f"secret/{_PATH}", f"F{number}"), KEY if turn % 2 else NEXT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert _fields(stub, "secret") == {"OTHER": "1"} | {f"F{number}": NEXT.reveal() for number in range(writers)}


def _answering(monkeypatch: pytest.MonkeyPatch, method: str, body: bytes, part: str = "") -> None:
    """Have the answer to each `method` at an address with `part` in it replaced by 200 with `body`."""
    real = WireAdapter.send

    def send(adapter: WireAdapter, request: Any, **named: Any) -> Any:
        response = real(adapter, request, **named)
        if request.method == method and part in request.url:
            response.status_code = 200
            monkeypatch.setattr(response, "raw", _Body(body))
        return response

    monkeypatch.setattr(WireAdapter, "send", send)


class _Body:
    def __init__(self, body: bytes) -> None:
        self._left = body

    def read(self, size: int, **_named: object) -> bytes:
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def close(self) -> None:
        pass

    def release_conn(self) -> None:
        pass
