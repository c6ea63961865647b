"""One address or none: nothing that a client or a careless proxy sends is taken for more than it is.

The header that carries one has one spelling and one meaning.
"""

import pytest

from mushu.server.client_address import address_header, client_address, network_of, read_address, shown

ADDRESSES = {
    "192.0.2.1": "192.0.2.1",
    "2001:db8::1": "2001:db8::1",
    "2001:DB8:0:0:0:0:0:1": "2001:db8::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:c000:0201": "192.0.2.1",
}
#: Not exactly one address.
NONE = [
    "", " ", " 192.0.2.1", "192.0.2.1 ", "192.0.2.1\t", "192.0.2.1:4711", "[2001:db8::1]", "[2001:db8::1]:443",
    "192.0.2.1,192.0.2.2", "192.0.2.1, 192.0.2.2", "192.0.2.1,", "fe80::1%eth0", "::1%", "::1%25lo", "192.0.2.0/24",
    "192.0.2", "3221225985", "0xC0000201", "192.0.2.01", "192.0.2.256", "\u0661.2.3.4", "unknown", "unix:", "localhost",
    "for=192.0.2.1", '"192.0.2.1"', "192.0.2.1\x00", "::ffff:192.0.2.1:80", "1" * 100_000, ":" * 45, "::" + "0" * 60,
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_one_address_has_one_spelling(text: str, expected: str) -> None:
    assert shown(read_address(text)) == expected


@pytest.mark.parametrize("text", NONE, ids=lambda text: repr(text[:20]))
def test_what_is_not_exactly_one_address_is_unknown(text: str) -> None:
    assert read_address(text) is None
    environ = {"REMOTE_ADDR": "192.0.2.9", "HTTP_MUSHUCLIENTIP": text}
    assert client_address(environ, "Mushuclientip") is None, "and never the peer"


def test_the_peer_counts_where_no_header_is_named() -> None:
    environ = {"REMOTE_ADDR": "::ffff:192.0.2.9", "HTTP_MUSHUCLIENTIP": "203.0.113.66", "HTTP_": "203.0.113.66"}
    assert shown(client_address(environ, "")) == "192.0.2.9"
    assert shown(client_address({}, "")) == "unknown"


def test_attempts_are_counted_by_what_one_customer_of_a_provider_has() -> None:
    networks = {network_of(read_address(f"2001:db8:1:2:{n:x}::{n:x}")) for n in range(1, 200)}
    assert networks == {"2001:db8:1:2::/64"}
    assert network_of(read_address("::ffff:192.0.2.1")) == network_of(read_address("192.0.2.1")) == "192.0.2.1"
    assert network_of(None) == "unknown"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X_Forwarded_For", "X.Forwarded.For", "Mushu-Ip", "-", "_", "a.b"])
def test_a_name_that_has_another_spelling_is_refused_with_the_reason(name: str) -> None:
    assert "another spelling" in (address_header(name) or "")


@pytest.mark.parametrize("name", ["Mushu Ip", "Mushuclientip\n", "Mushu:", "\u00c4ddress", "\u0661", "a" * 65, " "])
def test_a_name_has_letters_and_digits_only(name: str) -> None:
    assert "letters and digits" in (address_header(name) or "")


@pytest.mark.parametrize("name", ["Host", "COOKIE", "Authorization", "Forwarded", "connection", "Via"])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    assert "another meaning" in (address_header(name) or "")


@pytest.mark.parametrize("name", ["Mushuclientip", "CLIENTIP2", "a", "a" * 64])
def test_other_names_are_good(name: str) -> None:
    assert address_header(name) is None
