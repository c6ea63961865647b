"""JSON is read in the one way in which every program reads it, or refused with the reason."""

import json

import pytest

from mushu.strict_json import Limits, NotStrictJson, read
from tests.patterns.growth import is_superlinear

LIMITS = Limits(depth=4, values=20)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "It is not JSON, from line 1, column 1 on."),
    "no JSON": (b'{"a": 1,\n}', "It is not JSON, from line 2, column 1 on."),
    "two": (b"{}{}", "It is not JSON, from line 1, column 3 on."),
    "latin": (b'{"a": "\xe9"}', "It is not UTF-8."),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "It is not UTF-8."),
    "UTF-32": ('{"a": 1}'.encode("utf-32-le"), "It is not JSON, from line 1, column 2 on."),
    "a surrogate in UTF-8": (b'{"a": "\xed\xa0\x80"}', "It is not UTF-8."),
    "half a pair": (rb'{"a": "\ud800"}', "A text holds half of a surrogate pair."),
    "the other half": (rb'["\udc00x"]', "A text holds half of a surrogate pair."),
    "half a pair in a name": (rb'{"\ud800": 1}', "A text holds half of a surrogate pair."),
    "twice": (b'{"a": 1, "a": 1}', "A field stands twice in one object."),
    "twice, spelled differently": (rb'[{"a": 1, "\u0061": 2}]', "A field stands twice in one object."),
    "no number": (b'{"a": NaN}', "NaN is not JSON."),
    "without end": (b"[-Infinity]", "-Infinity is not JSON."),
    "65 bits": (b"[9223372036854775808]", "A number is larger than 64 bits hold."),
    "65 bits below": (b"[-9223372036854775809]", "A number is larger than 64 bits hold."),
    "a million digits": (b"[" + b"1" * 1_000_000 + b"]", "A number is larger than 64 bits hold."),
    "a large fraction": (b"[1e400]", "A number is larger than 64 bits hold."),
    "deep": (b"[[[[[1]]]]]", "It is nested deeper than 4 levels."),
    "deep and empty": (b'{"a":{"a":{"a":{"a":{}}}}}', "It is nested deeper than 4 levels."),
    "very deep": (b'{"a":' * 100_000, "It is nested deeper than 4 levels."),
    "very deep and whole": (b"[" * 200_000 + b"]" * 200_000, "It is nested deeper than 4 levels."),
    "many": (b"[" + b"1," * 20 + b"1]", "It holds more than 20 values."),
    "many names": (json.dumps({str(number): 1 for number in range(11)}).encode(), "It holds more than 20 values."),
    "many, by levels": (b"[[1,1,1,1,1,1],[1,1,1,1,1,1],[1,1,1,1,1]]", "It holds more than 20 values."),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_same_to_every_reader_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(NotStrictJson) as caught:
        read(text, LIMITS)
    assert str(caught.value) == reason
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (b"null", None),
        (b' "a" ', "a"),
        (b"\xef\xbb\xbf{}", {}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (rb'["\u0000"]', ["\0"]),
        (b"[9223372036854775807, -9223372036854775808, -0, 1e300]", [2**63 - 1, -(2**63), 0, 1e300]),
        (b"[[[[1]]]]", [[[[1]]]]),
        (b"[" + b"1," * 18 + b"1]", [1] * 19),
        (b'{"a": 1, "A": 1, "": {"a": 1}}', {"a": 1, "A": 1, "": {"a": 1}}),
    ],
)
def test_what_is_the_same_to_all_is_taken(text: bytes, meaning: object) -> None:
    assert read(text, LIMITS) == meaning


def test_objects_are_made_as_asked_from_within() -> None:
    assert read(b'[{"a": {"b": 1}}]', LIMITS, tuple) == [(("a", (("b", 1),)),)]


@pytest.mark.parametrize("part", [b"[", b'{"a":', b"1,", b'"a":1,', rb"\ud800", b"1", b"\\", b'"', b" "])
def test_reading_takes_time_that_grows_with_the_size(part: bytes) -> None:
    limits = Limits(values=100_000)

    def reading(size: int) -> object:
        text = b"[" + part * (size // len(part))
        return lambda: _refused(text, limits)

    assert not is_superlinear(reading)  # type: ignore[arg-type]


def _refused(text: bytes, limits: Limits) -> None:
    with pytest.raises(NotStrictJson):
        read(text, limits)
