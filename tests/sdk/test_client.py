"""`mushu.client`: which address, which scheme, and every way it refuses before anything is sent."""

import copy
import traceback
from importlib.metadata import version
from typing import Any

import pytest

import mushu
from mushu.core import AuthenticatedClient
from mushu.keyformat import Prefix, generate
from mushu.sdk import BadAddress, BadCredential, SdkError, UnknownService
from tests.sdk.conftest import LIVE, TEST, TOKEN, URL, Environment

MISTYPED = LIVE[:-1] + ("0" if LIVE[-1] != "0" else "1")


def base_url(client: AuthenticatedClient) -> str:
    return str(client.get_httpx_client().base_url).rstrip("/")


def authorization(client: AuthenticatedClient) -> str:
    value: str = client.get_httpx_client().headers["Authorization"]
    return value


@pytest.mark.parametrize("service", ["core", "notify", "media"])
def test_every_service_has_a_client_of_its_own_package(service: Any) -> None:
    client = mushu.client(service, api_key=LIVE, base_url=URL)
    assert type(client).__module__ == f"mushu.{service}.client"
    assert type(client).__name__ == "AuthenticatedClient"


def test_a_live_key_goes_to_the_address_as_it_is() -> None:
    client = mushu.client("core", api_key=LIVE, base_url=f"{URL}/")
    assert base_url(client) == URL
    assert authorization(client) == f"ApiKey {LIVE}"


def test_a_test_key_goes_to_the_sandbox() -> None:
    client = mushu.client("core", api_key=TEST, base_url=URL)
    assert base_url(client) == f"{URL}/sandbox"
    assert authorization(client) == f"ApiKey {TEST}"


def test_a_test_key_does_not_enter_the_sandbox_twice() -> None:
    assert base_url(mushu.client("core", api_key=TEST, base_url=f"{URL}/sandbox/")) == f"{URL}/sandbox"


def test_a_cli_token_goes_as_a_bearer_to_live_data() -> None:
    client = mushu.client("core", api_key=TOKEN, base_url=URL)
    assert base_url(client) == URL
    assert authorization(client) == f"Bearer {TOKEN}"


def test_the_address_is_the_argument_then_the_services_variable_then_the_one_for_all(environment: Environment) -> None:
    environment(MUSHU_URL="https://all.example.com")
    assert base_url(mushu.client("core", api_key=LIVE)) == "https://all.example.com"
    environment(MUSHU_CORE_URL="https://core.example.com/mushu", MUSHU_NOTIFY_URL="https://notify.example.com")
    assert base_url(mushu.client("core", api_key=LIVE)) == "https://core.example.com/mushu"
    assert base_url(mushu.client("core", api_key=LIVE, base_url=URL)) == URL
    notify, media = mushu.client("notify", api_key=TEST), mushu.client("media", api_key=LIVE)
    assert str(notify.get_httpx_client().base_url) == "https://notify.example.com/sandbox/"
    assert str(media.get_httpx_client().base_url).rstrip("/") == "https://all.example.com"


def test_an_empty_variable_is_as_good_as_none(environment: Environment) -> None:
    environment(MUSHU_CORE_URL=" ", MUSHU_URL=URL)
    assert base_url(mushu.client("core", api_key=LIVE)) == URL


def test_no_key_leaves_for_an_address_that_nobody_named() -> None:
    with pytest.raises(BadAddress) as refused:
        mushu.client("notify", api_key=LIVE)
    for way_out in ("MUSHU_URL", "MUSHU_NOTIFY_URL", "base_url"):
        assert way_out in str(refused.value)


def test_an_unknown_service_is_answered_with_the_three() -> None:
    with pytest.raises(UnknownService, match=r"'pay'.*core, notify, media"):
        mushu.client("pay", api_key=LIVE, base_url=URL)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "empty"),
        (None, "empty"),
        (MISTYPED, "mistyped"),
        (LIVE[:-1], "no API key"),
        (f"{LIVE}\n", "line break"),
        (f"sk_live_{LIVE[9:]}", "no API key"),
        (generate(Prefix.INVITATION).reveal(), "something else"),
    ],
    ids=["empty", "none", "mistyped", "cut", "line break", "foreign", "invitation"],
)
def test_what_is_no_api_key_is_refused_and_never_repeated(key: Any, words: str) -> None:
    with pytest.raises(BadCredential, match=words) as refused:
        mushu.client("core", api_key=key, base_url=URL)
    error = refused.value
    assert error.__cause__ is None
    assert error.__context__ is None
    if key:
        assert key.strip() not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "url",
    ["mushu.example.com", "ftp://mushu.example.com", "https://ada:hunter2@mushu.example.com", f"{URL}?a=b", f"{URL}#x"],
)
def test_what_is_no_address_of_a_server_is_refused_and_never_repeated(url: str, environment: Environment) -> None:
    with pytest.raises(BadAddress, match="base_url is no address") as refused:
        mushu.client("core", api_key=LIVE, base_url=url)
    assert "hunter2" not in str(refused.value)
    environment(MUSHU_URL=url)
    with pytest.raises(BadAddress, match="MUSHU_URL is no address"):
        mushu.client("core", api_key=LIVE)


def test_plain_http_does_not_leave_this_machine() -> None:
    with pytest.raises(BadAddress, match="plain http"):
        mushu.client("core", api_key=LIVE, base_url="http://mushu.example.com")
    for loopback in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        assert base_url(mushu.client("core", api_key=LIVE, base_url=loopback)) == loopback


def test_every_refusal_is_a_value_error() -> None:
    assert issubclass(SdkError, ValueError)
    assert {UnknownService, BadCredential, BadAddress} == set(SdkError.__subclasses__())


def test_the_key_does_not_show_in_a_client() -> None:
    client = mushu.client("core", api_key=LIVE, base_url=URL)
    client.get_httpx_client()
    for shown in (client, client.with_headers({"X-Trace": "1"}), copy.copy(client), client.get_httpx_client().headers):
        assert LIVE not in repr(shown)
        assert LIVE not in str(shown)
    assert URL in repr(client)


def test_a_client_made_from_another_keeps_the_key_and_leaves_the_other_as_it_was() -> None:
    client = mushu.client("core", api_key=LIVE, base_url=URL)
    traced = client.with_headers({"X-Trace": "1"}).with_cookies({"a": "b"})
    assert authorization(traced) == f"ApiKey {LIVE}"
    assert traced.get_httpx_client().headers["X-Trace"] == "1"
    assert "X-Trace" not in client.get_httpx_client().headers


def test_a_client_gives_up_in_time_and_follows_no_redirect() -> None:
    http = mushu.client("core", api_key=LIVE, base_url=URL).get_httpx_client()
    assert (http.timeout.read, http.timeout.connect) == (30.0, 10.0)
    assert http.follow_redirects is False
    http = mushu.client("core", api_key=LIVE, base_url=URL, timeout=2.5).get_httpx_client()
    assert (http.timeout.read, http.timeout.connect) == (2.5, 2.5)


@pytest.mark.fault
def test_the_package_knows_its_version() -> None:
    assert mushu.__version__ == version("mushu")
    with pytest.raises(AttributeError, match="nosuch"):
        _ = mushu.nosuch
