"""Answers that are wrong in ways that are easily taken for right."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from mushu.destination import Attempt, Denied, DestinationError
from mushu.testing.leaks import traces
from mushu_vault import connection
from mushu_vault.connection import ServerAdapter
from tests.plugins.mushu_vault.places import KEY, backend, destination, logins
from tests.vault.server import VaultStub

_PATH = "apps/backend"


def test_an_answer_with_the_wrong_version_to_a_write_that_was_not_made_is_no_receipt(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    place = destination(stub, f"secret/{_PATH}")
    attempt = Attempt("att_1", "key_1", place.read().version)
    real = ServerAdapter.send

    def send(adapter: ServerAdapter, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        if request.method == "PATCH":
            request.method, request.body = "GET", None
            request.headers.pop("Content-Length", None)
            # A current version in the place of the new one, as a proxy that keeps answers would give it.
            response = real(adapter, request, **named)
            response.raw = _Body(b'{"data": {"version": 1}}')
            return response
        return real(adapter, request, **named)

    monkeypatch.setattr(ServerAdapter, "send", send)
    with pytest.raises(DestinationError, match="So far, it is not there") as caught:
        place.write(KEY, attempt)
    assert not caught.value.permanent


def test_an_operation_logs_in_anew_once_however_often_it_is_refused(stub: VaultStub) -> None:
    stub.policy("keys", {"secret/data/*": ["create", "read", "patch"]})
    role_id, secret_id = stub.approle("backend", ["keys"])
    place = backend(addr=stub.address, role_id=role_id, secret_id=secret_id)
    version = place.read().version
    # As with a token that may not even ask about itself.
    for pattern in (
        "auth/token/lookup-self",
        f"secret/data/{_PATH}",
        f"secret/metadata/{_PATH}",
        "sys/capabilities-self",
    ):
        stub.fault("error-before", "*", pattern, times=-1, status=403, text="permission denied")
    with pytest.raises(Denied):
        place.write(KEY, Attempt("att_1", "key_1", version))
    assert logins(stub) == 2


def test_an_answer_that_is_too_large_is_left_before_its_end(stub: VaultStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LARGEST", 100_000)
    place = destination(stub, f"secret/{_PATH}", timeout="60")
    stub.fault("huge", "GET", f"secret/data/{_PATH}", times=-1, size=1_000_000)
    with pytest.raises(DestinationError, match="more than any secret"):
        place.read()


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
        errors += [_error(place.read), _error(lambda: place.write(KEY, Attempt("att_1", "key_1", version)))]
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


def test_a_login_that_is_sent_elsewhere_says_where(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("mushu", [rules])
    stub.fault("redirect", location="https://active.example:8200/v1/auth/approle/login")
    with pytest.raises(DestinationError, match=r"https://active\.example:8200"):
        backend(addr=stub.address, auth="approle", role_id=role_id, secret_id=secret_id).read()
