import pytest

from mushu.address import host_of, is_loopback, is_plain, normalized


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


@pytest.mark.parametrize(
    ("url", "host", "loopback"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", True),
        ("http://127.8.9.1", "127.8.9.1", True),
        ("http://localhost", "localhost", True),
        ("http://[::1]:8000", "::1", True),
        ("http://localhost.evil.example", "localhost.evil.example", False),
        ("http://127.1", "127.1", False),
        ("http://0.0.0.0", "0.0.0.0", False),
        ("http://10.0.0.1", "10.0.0.1", False),
        ("no address", "", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, host: str, loopback: bool) -> None:
    assert host_of(url) == host
    assert is_loopback(url) is loopback


def test_only_http_is_plain() -> None:
    assert is_plain("http://a")
    assert not is_plain("https://a")
