"""A Vault that lies with JSON: each answer is refused in words, and no neighbour is lost to it."""

from typing import Any

import pytest

from mushu.destination import Attempt, DestinationError
from mushu.testing.leaks import traces
from mushu_vault.connection import ServerAdapter
from mushu_vault.json_object import JsonObject
from tests.plugins.mushu_vault.places import KEY, destination
from tests.vault.server import VaultStub

_PATH = "apps/backend"
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


@pytest.fixture
def lying(stub: VaultStub, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> VaultStub:
    """A Vault that gives one answer to whoever reads a secret."""
    stub.put("secret", _PATH, {"OTHER": "1"})
    real = ServerAdapter.send

    def send(adapter: ServerAdapter, request: Any, **named: Any) -> Any:
        response = real(adapter, request, **named)
        if "/data/" in request.url:
            response.raw = _Body(answer)
        return response

    monkeypatch.setattr(ServerAdapter, "send", send)
    return stub


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, *_: object, **__: object) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        pass

    release_conn = close


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_an_error_for_the_operator(lying: VaultStub) -> None:
    place = destination(lying, f"secret/{_PATH}", timeout="10")
    for act in (place.read, lambda: place.write(KEY, Attempt("att_1", "key_1", "1"))):
        with pytest.raises(DestinationError) as caught:
            act()
        assert not [text for text in traces(caught.value) if KEY.reveal() in text or lying.root_token in text]


@pytest.mark.fault
def test_a_field_that_stands_twice_is_no_answer() -> None:
    """Of the two, one would be written back, and the other one lost."""
    assert JsonObject.parsed(TWICE) is None
    assert JsonObject.parsed(b'{"data": {"a": 1, "\\u0061": 2}}') is None
    assert JsonObject.parsed(b'{"data": {"a": 1, "A": 2}}') is not None
