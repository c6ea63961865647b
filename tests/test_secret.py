"""A Secret gives itself away to nobody but who calls `reveal`."""

import copy
import dataclasses
import hashlib
import json
import pickle
import traceback

import pytest

from mushu.secret import Secret, digest_of

PLAINTEXT = "msk_live_this-must-not-be-seen"


@pytest.fixture
def secret() -> Secret:
    return Secret(PLAINTEXT)


def test_reveal_hands_the_value_out(secret: Secret) -> None:
    assert secret.reveal() == PLAINTEXT


def test_nothing_that_prints_shows_it(secret: Secret) -> None:
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>50}", f"{secret!r}", repr([secret])]
    assert all(PLAINTEXT not in text and "secret" in text for text in shown)


def test_a_dataclass_that_holds_it_does_not_show_it(secret: Secret) -> None:
    @dataclasses.dataclass
    class Holder:
        value: Secret

    assert PLAINTEXT not in repr(Holder(secret))


def test_it_cannot_be_pickled_copied_or_written_as_json(secret: Secret) -> None:
    for act in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            act(secret)
        assert PLAINTEXT not in str(caught.value)


def test_a_traceback_with_locals_does_not_show_it(secret: Secret) -> None:
    def fail(value: Secret) -> None:
        raise RuntimeError("no")

    try:
        fail(secret)
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "value = <secret>" in text
    assert PLAINTEXT not in text


def test_it_has_no_attributes_to_list_and_no_hash(secret: Secret) -> None:
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_it_compares_by_value_and_to_secrets_only(secret: Secret) -> None:
    assert secret == Secret(PLAINTEXT)
    assert secret != Secret("other")
    assert secret != PLAINTEXT


def test_the_digest_is_sha_256_in_hexadecimal(secret: Secret) -> None:
    expected = hashlib.sha256(PLAINTEXT.encode()).hexdigest()
    assert secret.digest() == digest_of(PLAINTEXT) == expected
    assert secret.matches(expected)
    assert not secret.matches(digest_of("other"))
    assert not secret.matches(None)
