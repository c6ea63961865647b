"""A Vault that lies with JSON: each answer is refused in words, and no neighbour is lost to it."""

import pytest

from mushu.destination import DestinationError
from mushu.testing.leaks import traces
from mushu_vault.json_object import JsonObject
from tests.plugins.mushu_vault.places import KEY, at, destination
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
