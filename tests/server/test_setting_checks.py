"""The header that carries an address has one spelling, and a meaning that nobody else gives it."""

import pytest

from mushu.server.setting_checks import address_header


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
