"""Test is test: a test notification never reaches Apple's production, whatever the tenant and the settings say."""

from pathlib import Path

import pytest

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.keys.scopes import Environment
from mushu.server.resources.notifications.hosts import Hosts
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
