"""The protocol of Apple's push service: what goes where, and that a payload is as Apple takes it."""

from pathlib import Path
from typing import Any

import pytest

from mushu.environment import Environment
from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError, Invalid
from mushu.server.resources.notifications.apns import (
    MOST_BYTES,
    Content,
    Hosts,
    PushType,
    encoded,
    payload_of,
    push_type_of,
)
from mushu.server.web.extensions import hosts_of
from tests.server.resources.notifications.conftest import LIVE, TEST, Post
from tests.server.resources.notifications.stand_in import StandIn

HOSTS = Hosts("https://production.example", "https://sandbox.example")


@pytest.mark.parametrize(
    ("environment", "use_sandbox", "host"),
    [
        (LIVE, False, HOSTS.production),
        (LIVE, True, HOSTS.sandbox),
        (TEST, False, HOSTS.sandbox),
        (TEST, True, HOSTS.sandbox),
    ],
)
def test_only_a_live_tenant_that_does_not_ask_for_the_sandbox_reaches_production(
    environment: Environment, use_sandbox: bool, host: str
) -> None:
    assert HOSTS.of(environment, use_sandbox=use_sandbox) == host


def test_a_live_notification_reaches_production_and_nothing_else(live: Post, apple: StandIn, sandbox: StandIn) -> None:
    tenant = live.tenant(apple.credentials())
    live.device(tenant)
    assert live.send(tenant)[0].outcome == "sent"
    assert (apple.count, sandbox.connections) == (1, 0)


def test_a_live_tenant_may_ask_for_the_sandbox(live: Post, apple: StandIn, sandbox: StandIn) -> None:
    tenant = live.tenant(sandbox.credentials(), use_sandbox=True)
    live.device(tenant)
    assert live.send(tenant)[0].outcome == "sent"
    assert (apple.connections, sandbox.count) == (0, 1)


@pytest.mark.parametrize("use_sandbox", [False, True])
def test_a_test_notification_never_touches_production(
    test: Post, apple: StandIn, sandbox: StandIn, use_sandbox: bool
) -> None:
    tenant = test.tenant(sandbox.credentials(), use_sandbox=use_sandbox)
    test.device(tenant)
    assert test.send(tenant)[0].outcome == "sent"
    assert (apple.connections, sandbox.count) == (0, 1)


def test_the_defaults_are_apples(tmp_path: Path) -> None:
    settings = Settings(instance_path=tmp_path)
    settings.validate()
    assert hosts_of(settings) == Hosts("https://api.push.apple.com", "https://api.sandbox.push.apple.com")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/", "http://[::1]:9000", "http://localhost", "https://apns.example"]
)
def test_a_stand_in_on_this_machine_may_do_without_tls(tmp_path: Path, url: str) -> None:
    settings = Settings(instance_path=tmp_path, apns_sandbox_url=url)
    settings.validate()
    assert hosts_of(settings).sandbox == url.rstrip("/")


@pytest.mark.parametrize("name", ["apns_url", "apns_sandbox_url"])
@pytest.mark.parametrize(
    "url",
    [
        "", "api.push.apple.com", "http://apns.example", "ftp://127.0.0.1", "https://", "https://[", "https://a:99999",
        "https://user@apns.example", "https://:secret@apns.example", "https://apns.example/3", "https://a.example?b",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_a_fault(tmp_path: Path, name: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MUSHU_{name.upper()} must look like"):
        Settings(instance_path=tmp_path, **{name: url}).validate()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("production", "sandbox"),
    [
        ("https://api.push.apple.com", "https://api.push.apple.com"),
        ("https://apns.example", "https://apns.example/"),
        ("https://apns.example", "https://api.push.apple.com:2197"),
        ("https://apns.example", "https://API.push.apple.com"),
    ],
)
def test_the_sandbox_cannot_be_set_to_production(tmp_path: Path, production: str, sandbox: str) -> None:
    settings = Settings(instance_path=tmp_path, apns_url=production, apns_sandbox_url=sandbox)
    with pytest.raises(ConfigurationError, match="test notifications never reach production"):
        settings.validate()


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
