"""The URI: one spelling for one field, nothing touched, nothing repeated."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mushu import keyformat
from mushu.destination import DestinationError, Surroundings, installed_schemes, open_destination
from mushu_vault import VaultDestination
from mushu_vault.uri import VaultAddress, parse_address
from tests.plugins.mushu_vault.places import refused

_NOWHERE = Surroundings(Path("/nowhere"))


def _uri_of(uri: str) -> str:
    destination = VaultDestination.parse(uri, _NOWHERE)
    assert destination is not None
    return destination.uri


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert "vault" in installed_schemes()
    assert isinstance(open_destination("vault:secret/apps/backend", _NOWHERE), VaultDestination)


@pytest.mark.parametrize(
    ("given_uri", "canonical"),
    [
        ("vault:secret/apps/backend", "vault:secret/apps/backend#MUSHU_API_KEY"),
        ("vault:secret/a#b.c-d", "vault:secret/a#b.c-d"),
        ("vault:team/kv/a%2Fb", "vault:team/kv/a/b#MUSHU_API_KEY"),
        ("vault:secret/a b", "vault:secret/a%20b#MUSHU_API_KEY"),
        ("vault:secret/%61", "vault:secret/a#MUSHU_API_KEY"),
        ("vault:secret/a%23b%3Fc%25d", "vault:secret/a%23b%3Fc%25d#MUSHU_API_KEY"),
        ("vault:secret/a+b:c@d=e", "vault:secret/a+b:c@d=e#MUSHU_API_KEY"),
        ("vault:secret/%C3%BC", "vault:secret/ü#MUSHU_API_KEY"),
        ("vault:secret/...", "vault:secret/...#MUSHU_API_KEY"),
        ("vault:secret/a#%0A%00 /?#", "vault:secret/a#%0A%00%20/%3F%23"),
        ("vault:secret/a#*", "vault:secret/a#*"),
        ("vault:secret/a?namespace=team", "vault:secret/a?namespace=team#MUSHU_API_KEY"),
        ("vault:secret/a?namespace=/x/y/#F", "vault:secret/a?namespace=x/y#F"),
        ("vault:secret/a?namespace=root#F", "vault:secret/a?namespace=root#F"),
        ("vault:secret/a?namespace=x%26y%3Dz#F", "vault:secret/a?namespace=x%26y=z#F"),
    ],
)
def test_every_spelling_has_one_canonical_form(given_uri: str, canonical: str) -> None:
    assert _uri_of(given_uri) == canonical
    assert _uri_of(canonical) == canonical


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("vault:", "names no secret"),
        ("vault:#F", "names no secret"),
        ("vault:secret", "a mount alone"),
        ("vault:/secret/a", "begins with a slash"),
        ("vault:%2Fsecret/a", "begins with a slash"),
        ("vault://host/secret/a", "VAULT_ADDR"),
        ("vault:secret/a/", "ends with a slash"),
        ("vault:secret/", "ends with a slash"),
        ("vault:secret//a", "there is nothing"),
        ("vault:secret/./a", "way up"),
        ("vault:secret/../sys", "way up"),
        ("vault:secret/%2E%2e/sys", "way up"),
        ("vault:secret/..%2Fa", "way up"),
        ("vault:secret/+/a", "mean `anything`"),
        ("vault:secret/a*", "mean `anything`"),
        ("vault:secret/%2A", "mean `anything`"),
        pytest.param("vault:secret/{{a}}/b", "enclose a template", marks=pytest.mark.fault),
        ("vault:secret/a%7D%7D?namespace=n", "enclose a template"),
        ("vault:secret/a\n", "control character"),
        ("vault:secret/a%00", "control character"),
        ("vault:secret/a%1B[31m", "control character"),
        ("vault:secret/a%E2%80%AEb", "control character"),
        ("vault:secret/a#", "after #"),
        ("vault:secret/a?", "namespace=NAME"),
        ("vault:secret/a?version=2", "namespace=NAME"),
        ("vault:secret/a?namespace", "after namespace="),
        ("vault:secret/a?namespace=/", "after namespace="),
        ("vault:secret/a?namespace=a&namespace=b", "once"),
        ("vault:secret/a?namspace=team", "only be namespace=NAME"),
        ("vault:secret/a#F?namespace=team", "right after the path"),
        ("vault:secret/a?namespace=team#F&namespace=other", "right after the path"),
        ("vault:secret/a&namespace=team#F", "right after the path"),
        ("vault:secret/a?namespace=a/../b", "way up"),
        ("vault:secret/a?namespace=a%0Ab", "control character"),
        ("vault:secret/%zz", "two hexadecimal digits"),
        ("vault:secret/a#%4", "two hexadecimal digits"),
        ("vault:secret/%FF", "no UTF-8"),
        ("vault:secret/a#%FF", "no UTF-8"),
        ("vault:secret/\ud800", "no UTF-8"),
    ],
)
def test_a_bad_uri_is_refused_with_a_sentence_that_repeats_nothing(uri: str, sentence: str) -> None:
    said = refused(lambda: _uri_of(uri), sentence, permanent=True)
    assert "for example vault:secret/apps/backend#MUSHU_API_KEY" in said
    assert "host/" not in said


_TOKENS = ("hvs.CAESIJ0123456789abcdefghijkl", "s.0123456789abcdefghijklmn", "hvb.AAAAAQ0123456789abcdefghij")


@pytest.mark.parametrize("prefix", [*keyformat.Prefix, *_TOKENS])
@pytest.mark.parametrize(
    "uri", ["vault:{}", "vault:secret/{}", "vault:secret/a#{}", "vault:secret/a?namespace={}", "vault:secret/%{}"]
)
def test_a_credential_in_the_uri_is_refused_and_not_repeated(prefix: str, uri: str) -> None:
    text = prefix if prefix in _TOKENS else keyformat.generate(keyformat.Prefix(prefix)).reveal()
    if "%{}" in uri:
        text = f"{ord(text[0]):02x}{text[1:]}"
    refused(lambda: _uri_of(uri.format(text)), "looks like a key or a token", hidden=text)


def test_names_that_only_begin_like_a_credential_are_names() -> None:
    assert (
        _uri_of("vault:secret/mct_app/services.example#hvs.token") == "vault:secret/mct_app/services.example#hvs.token"
    )


@pytest.mark.parametrize("uri", ["env:/a#Y", "VAULT:secret/a", "vaultx:secret/a", "vault", "", " vault:secret/a"])
def test_another_scheme_is_not_ours(uri: str) -> None:
    assert VaultDestination.parse(uri, _NOWHERE) is None


def test_a_token_among_the_settings_is_in_no_traceback() -> None:
    surroundings = Surroundings(Path("/nowhere"), {"token": "hvs.very-secret"})
    refused(lambda: VaultDestination.parse("vault:secret", surroundings), hidden="very-secret")


_SEGMENTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and text not in (".", "..", "+") and not set("/*{}") & set(text)
)
_PATHS = st.lists(_SEGMENTS, min_size=2, max_size=4).map("/".join)


@given(
    _PATHS,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.none() | st.lists(_SEGMENTS, min_size=1, max_size=2).map("/".join),
)
def test_any_address_at_all_survives_the_round_trip(path: str, field: str, namespace: str | None) -> None:
    address = VaultAddress(path, field, namespace)
    assert parse_address(address.uri) == address
    assert address.uri.isprintable()
    assert " " not in address.uri
    address.uri.encode()  # can be stored and sent


@given(st.text(max_size=60))
def test_whatever_is_accepted_has_a_spelling_that_is_accepted(rest: str) -> None:
    address = None
    with suppress(DestinationError):
        address = parse_address(f"vault:{rest}")
    if address is not None:
        assert parse_address(address.uri) == address
