"""Answers that are wrong, hostile or easily taken for right: each is refused in words, and costs no neighbour."""

from collections.abc import Callable
from typing import Any

import pytest

from mushu.destination import Denied, DestinationError
from mushu.testing.leaks import traces
from mushu_vault import connection
from mushu_vault.json_object import JsonObject
from tests.plugins.mushu_vault.places import KEY, at, backend, destination, logins, refused, role_of
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def test_an_answer_with_the_wrong_version_to_a_write_that_was_not_made_is_no_receipt(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = destination(stub, f"secret/{_PATH}")
    attempt = at(place.read().version)
    # A current version in the place of the new one, as a proxy that keeps answers would give it.
    stub.fault("body-before", "PATCH", body=b'{"data": {"version": 1}}')
    refused(lambda: place.write(KEY, attempt), "So far, it is not there", permanent=False)


def test_an_operation_logs_in_anew_once_however_often_it_is_refused(stub: VaultStub) -> None:
    stub.policy("keys", {"secret/data/*": ["create", "read", "patch"]})
    place = backend(**role_of(stub, "keys"))
    version = place.read().version
    # As with a token that may not even ask about itself.
    for pattern in ("auth/token/lookup-self", "secret/*", "sys/capabilities-self"):
        stub.fault("error-before", "*", pattern, times=-1, status=403, text="permission denied")
    refused(lambda: place.write(KEY, at(version)), kind=Denied)
    assert logins(stub) == 2


def test_an_answer_that_is_too_large_is_left_before_its_end(stub: VaultStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LARGEST", 100_000)
    place = destination(stub, f"secret/{_PATH}", timeout="60")
    stub.fault("huge", "GET", f"secret/data/{_PATH}", times=-1, size=1_000_000)
    refused(place.read, "more than any secret")


@pytest.mark.parametrize(
    "kind", ["cut-before", "cut-after", "html", "invalid-json", "drip", "error-before", "redirect"]
)
def test_what_goes_wrong_on_the_way_is_told_without_token_or_key(stub: VaultStub, kind: Any) -> None:
    place = destination(stub, f"secret/{_PATH}", timeout="1")
    version = place.read().version
    errors = []
    for method in ("POST", "GET"):
        stub.clear_faults()
        stub.fault(kind, method, f"secret/data/{_PATH}", times=-1, seconds=0.05, location="https://x.example/")
        errors += [_error(place.read), _error(lambda: place.write(KEY, at(version)))]
    raised = [error for error in errors if error is not None]
    assert raised
    assert not [error for error in raised if error.__cause__ or error.__context__]
    shown = [text for error in raised for text in traces(error)]
    assert not [text for text in shown if stub.root_token in text or KEY.reveal() in text]


def _error(act: Callable[[], object]) -> DestinationError | None:
    try:
        act()
    except DestinationError as error:
        return error
    return None


def test_a_login_that_is_sent_elsewhere_says_where(stub: VaultStub, rules: str) -> None:
    stub.fault("redirect", location="https://active.example:8200/v1/auth/approle/login")
    refused(backend(auth="approle", **role_of(stub, rules)).read, r"https://active\.example:8200")


#: What no Vault answers.
ANSWERS: dict[str, bytes] = {
    "deep": b'{"data":' * 100_000,
    "deep and whole": b'{"data":' * 900 + b"1" + b"}" * 900,
    "twice": b'{"data":{"data":{"OTHER":"1","OTHER":"2"},"metadata":{"version":1}}}',
    "NaN": b'{"data":{"data":{"OTHER":NaN},"metadata":{"version":1}}}',
    "not UTF-8": b'{"data":{"data":{"OTHER":"\xff"},"metadata":{"version":1}}}',
    "no object": b"[[]]",
}
TWICE = b'{"data": {"a": 1}, "data": {"a": 2}}'


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_an_error_for_the_operator(stub: VaultStub, answer: bytes) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    stub.fault("body-after", "*", "secret/data/*", times=-1, body=answer)
    place = destination(stub, f"secret/{_PATH}", timeout="10")
    for act in (place.read, lambda: place.write(KEY, at("1"))):
        with pytest.raises(DestinationError) as caught:
            act()
        assert not [text for text in traces(caught.value) if KEY.reveal() in text or stub.root_token in text]


@pytest.mark.fault
def test_a_field_that_stands_twice_is_no_answer() -> None:
    """Of the two, one would be written back, and the other one lost."""
    assert JsonObject.parsed(TWICE) is None
    assert JsonObject.parsed(b'{"data": {"a": 1, "\\u0061": 2}}') is None
    assert JsonObject.parsed(b'{"data": {"a": 1, "A": 2}}') is not None
