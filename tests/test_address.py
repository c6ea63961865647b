import ssl
from collections.abc import Callable
from pathlib import Path
from smtplib import SMTP

import pytest

import mushu
from mushu.address import host_of, is_loopback, is_plain, leaves_in_the_clear, normalized
from mushu.cli.client.api import refuse_plain_http
from mushu.cli.errors import Failure
from mushu.destination import DestinationError, Surroundings, is_loopback_host
from mushu.keyformat import Prefix, generate
from mushu.sdk import BadAddress
from mushu.server.db import is_unverified
from mushu.server.errors import Invalid
from mushu.server.mail import _encrypt, _NoTls
from mushu.server.setting_checks import push_service
from mushu.server.web.pages.consent import loopback_address
from mushu_vault import VaultDestination


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        (" HTTPS://Mushu.Example.COM:443 ", "https://mushu.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("https://a.example.com/Keys/", "https://a.example.com/Keys"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://a.example.com:08443", "https://a.example.com:8443"),
    ],
)
def test_an_address_has_one_spelling(given: str, kept: str) -> None:
    assert normalized(given) == kept
    assert normalized(kept) == kept


@pytest.mark.parametrize(
    "given",
    [
        "", "example.com", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://a:x", "https://u:p@a", "https://a?q",
        "https://a#f", "https://a/../b", "https://a/%2e%2e", "https://a\\@b", "https://a b", "https://a\nb", "https://a//b",
        "http://127.0.0.1@evil.example", "http://[::1", "https://-a", "https://a/.git", "javascript:alert(1)", "https://ä.example",
    ],
)  # fmt: skip
def test_what_two_programs_could_read_differently_is_no_address(given: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        normalized(given)


def _sdk(host: str) -> bool:
    try:
        mushu.client("core", api_key=generate(Prefix.LIVE_KEY).reveal(), base_url=f"http://{host}:8000")
    except BadAddress:
        return False
    return True


def _command(host: str) -> bool:
    try:
        refuse_plain_http(normalized(f"http://{host}:8000"), insecure=False)
    except (Failure, ValueError):
        return False
    return True


def _consent(host: str) -> bool:
    try:
        return loopback_address(f"http://{host}:8000/").netloc == f"{host}:8000"
    except Invalid:
        return False


def _mail(host: str) -> bool:
    try:
        _encrypt(SMTP(), ssl.create_default_context(), host.strip("[]"))
    except _NoTls:
        return False
    return True


def _vault(host: str) -> bool:
    """It looks at the address first, and for a token second; there is none."""
    found = VaultDestination.parse("vault:secret/app#KEY", Surroundings(Path("/"), {"addr": f"http://{host}:8200"}))
    assert found is not None
    with pytest.raises(DestinationError) as caught:
        found.read()
    return "unencrypted" not in str(caught.value)


#: Whatever decides by it whether something may be sent unencrypted, or past a proxy; IPv6 in brackets.
DOORS: dict[str, Callable[[str], bool]] = {
    "address": lambda host: is_loopback(f"http://{host}:8000"),
    "plugins": lambda host: is_loopback_host(host.strip("[]")),
    "SDK": _sdk,
    "mushu": _command,
    "Apple's stand-in": lambda host: push_service(f"http://{host}:8000") is None,
    "database": lambda host: not is_unverified(f"postgresql+psycopg://{host}/mushu", {}),
    "doctor, and the wheel": lambda host: not leaves_in_the_clear(f"http://{host}:8000"),
    "mail": _mail,
    "browser login": _consent,
    "Vault": _vault,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("127.255.255.254", True),
        ("localhost", True),
        ("[::1]", True),
        ("localhost.", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("127.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("[::]", False),
        ("[::ffff:127.0.0.1]", False),
        ("[::ffff:192.0.2.1]", False),
    ],
)
def test_loopback_has_one_meaning_at_every_door(
    monkeypatch: pytest.MonkeyPatch, door: str, host: str, here: bool
) -> None:
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    assert DOORS[door](host) is here


def test_a_host_is_found_in_an_address() -> None:
    urls = ("http://127.0.0.1:8000", "http://[::1]:8000", "no address")
    assert [host_of(url) for url in urls] == ["127.0.0.1", "::1", ""]


def test_only_http_is_plain() -> None:
    assert is_plain("http://a")
    assert not is_plain("https://a")
