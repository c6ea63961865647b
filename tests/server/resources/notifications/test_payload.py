"""The payload: what was asked for as Apple takes it, or a refusal that says what to change."""

from typing import Any

import pytest

from mushu.server.errors import Invalid
from mushu.server.resources.notifications.payload import (
    MOST_BYTES,
    Content,
    PushType,
    encoded,
    payload_of,
    push_type_of,
)


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels - 1):
        data = {"a": data}
    return data


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (Content(title="Hello"), {"aps": {"alert": {"title": "Hello"}}}),
        (Content(title="T", subtitle="S", body="B"), {"aps": {"alert": {"title": "T", "subtitle": "S", "body": "B"}}}),
        (Content(badge=0), {"aps": {"badge": 0}}),
        (Content(sound="default"), {"aps": {"sound": "default"}}),
        (Content(content_available=True), {"aps": {"content-available": 1}}),
        (Content(data={"id": 1}), {"aps": {"content-available": 1}, "id": 1}),
        (Content(body="B", data={"id": [1]}), {"aps": {"alert": {"body": "B"}}, "id": [1]}),
        (Content(title="", body="B", sound=""), {"aps": {"alert": {"body": "B"}}}),
    ],
)
def test_holds_what_was_asked_for_and_nothing_else(content: Content, payload: dict[str, Any]) -> None:
    assert payload_of(content) == payload


@pytest.mark.parametrize(
    ("content", "push_type"),
    [
        (Content(title="T"), PushType.ALERT),
        (Content(badge=0), PushType.ALERT),
        (Content(sound="default", content_available=True), PushType.ALERT),
        (Content(content_available=True), PushType.BACKGROUND),
        (Content(data={"id": 1}), PushType.BACKGROUND),
    ],
)
def test_is_an_alert_if_anybody_would_notice(content: Content, push_type: PushType) -> None:
    assert push_type_of(payload_of(content)) is push_type


@pytest.mark.parametrize("content", [Content(), Content(title=""), Content(data={}), Content(sound="")])
def test_of_nothing_is_refused(content: Content) -> None:
    with pytest.raises(Invalid, match="nothing to send"):
        payload_of(content)


def test_may_have_as_many_bytes_as_apple_takes_and_not_one_more() -> None:
    bare = len(encoded(payload_of(Content(body="x"))))
    assert len(encoded(payload_of(Content(body="x" * (MOST_BYTES - bare + 1))))) == MOST_BYTES
    with pytest.raises(Invalid, match=f"{MOST_BYTES + 1} bytes"):
        payload_of(Content(body="x" * (MOST_BYTES - bare + 2)))
    with pytest.raises(Invalid, match="Apple takes 4096"):
        payload_of(Content(body="ü" * (MOST_BYTES // 2)))  # bytes are counted, not characters


def test_the_key_of_apple_cannot_be_sent_along() -> None:
    with pytest.raises(Invalid, match="no key aps"):
        payload_of(Content(title="T", data={"aps": {"alert": "mine"}}))
    assert payload_of(Content(title="T", data={"mine": {"aps": 1}}))["mine"] == {"aps": 1}


@pytest.mark.parametrize("levels", [21, 500, 100_000])
def test_depth_is_bounded_without_recursion(levels: int) -> None:
    with pytest.raises(Invalid, match="nested at most 20"):
        payload_of(Content(data={"a": nested(levels)}))


def test_twenty_levels_are_no_trouble() -> None:
    assert payload_of(Content(data=nested(20)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800", {"\udfff": 1}, [float("nan")]])
def test_what_json_has_not_is_refused_and_not_repeated(value: object) -> None:
    with pytest.raises(Invalid, match="beyond all bounds, or half a character") as caught:
        payload_of(Content(data={"v": value}))
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_large_numbers_and_zero_bytes_are_sent_as_they_are() -> None:
    payload = payload_of(Content(data={"n": 10**300, "z": "\x00"}))
    assert encoded(payload) == b'{"aps":{"content-available":1},"n":1' + b"0" * 300 + rb',"z":"\u0000"}'
