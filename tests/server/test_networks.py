"""Networks have one spelling, and an address is in them however it is written."""

import pytest

from mushu.server.client_address import read_address
from mushu.server.errors import Invalid
from mushu.server.keys import is_within, networks_of, parse_networks, stored_networks, written_networks


def within(address: str | None, *networks: str) -> bool:
    return is_within(read_address(address), parse_networks(networks))


def test_an_address_is_in_its_network_in_each_of_its_spellings() -> None:
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203", "0:0:0:0:0:FFFF:0a01:0203"):
        for network in ("10.0.0.0/8", "::ffff:10.0.0.0/104", "::FFFF:a01:203/128", "10.1.2.3", "0.0.0.0/0"):
            assert within(address, "192.0.2.0/24", network)
        assert not within(address, "10.1.2.4/32", "2001:db8::/32", "::/0")
    for address in ("2001:db8::1", "2001:DB8:0:0::1", "2001:0db8::0.0.0.1"):
        assert within(address, "2001:db8::/32")
        assert within(address, "2001:0DB8:0000::/48")
        assert not within(address, "2001:db9::/32", "0.0.0.0/0", "::ffff:0:0/96")


def test_an_address_that_is_not_known_or_not_exactly_one_is_in_none() -> None:
    for address in (None, "", "unknown", "10.1.2.3:80", "10.1.2.3, 10.1.2.4", "010.1.2.3", "0x0a010203", "167838211",
                    "fe80::1%eth0", "10.1.2.3 "):  # fmt: skip
        assert not within(address, "0.0.0.0/0", "::/0")


def test_networks_are_kept_in_one_spelling_and_once() -> None:
    column = stored_networks(parse_networks(["10.0.0.0/8", "2001:DB8::/32", "::ffff:10.0.0.0/104", "192.0.2.7"]))
    assert column == "10.0.0.0/8,2001:db8::/32,192.0.2.7/32"
    assert written_networks(column) == column.split(",")
    assert stored_networks(networks_of(column)) == column
    assert (stored_networks(()), written_networks(None), networks_of(None)) == (None, None, ())


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/-1", "10.0.0/8", "010.0.0.0/8", "10.0.0.0/8 ",
     "fe80::%eth0/64", "::/129", "host", "10.0.0.0/8,::/0", "1", "١0.0.0.0/8", "10.0.0.0/8/8", "::1::/64", "9" * 70],
)  # fmt: skip
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"10\.0\.0\.0/8") as refusal:
        parse_networks([text])
    assert refusal.value.field == "networks"


def test_a_key_has_a_bounded_number_of_networks() -> None:
    with pytest.raises(Invalid, match="50 networks"):
        parse_networks([f"10.0.{number}.0/24" for number in range(51)])
