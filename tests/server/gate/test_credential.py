"""Which headers carry a credential, in which forms, and what is refused without asking the database."""

import string

import pytest

from mushu import credential as forms
from mushu.credential import CredentialFault
from mushu.keyformat import Prefix, checksum
from mushu.server.errors import (
    AmbiguousCredential,
    MalformedCredential,
    MissingCredential,
    MistypedCredential,
    MushuError,
    Unauthenticated,
)
from mushu.server.gate.credential import Credential, read_headers


def fixed(prefix: Prefix) -> str:
    """Return a well-formed credential, the same in every process that runs a share of these tests."""
    head = f"{prefix}x0Ab1Cd2Ef3Gh4Ij5Kl6Mn"
    return head + checksum(head)


KEY, TEST_KEY = fixed(Prefix.LIVE_KEY), fixed(Prefix.TEST_KEY)
TOKEN, LINK = fixed(Prefix.CLI_TOKEN), fixed(Prefix.PASSWORD_LINK)


def fault(authorization: str | None, x_api_key: str | None = None) -> MushuError:
    with pytest.raises(MushuError) as caught:
        read_headers(authorization, x_api_key)
    return caught.value


class TestGoodForms:
    @pytest.mark.parametrize("key", [KEY, TEST_KEY])
    def test_a_key_is_taken_from_either_header(self, key: str) -> None:
        for credential in (read_headers(f"ApiKey {key}", None), read_headers(None, key)):
            assert credential.secret.reveal() == key
            assert credential.is_key

    def test_a_token_is_taken_under_bearer(self) -> None:
        credential = read_headers(f"Bearer {TOKEN}", None)
        assert credential.secret.reveal() == TOKEN
        assert not credential.is_key

    @pytest.mark.fault
    @pytest.mark.parametrize("key", [KEY, TEST_KEY])
    def test_a_key_is_taken_under_bearer_too_which_is_all_that_many_clients_send(self, key: str) -> None:
        assert read_headers(f"Bearer {key}", None) == read_headers(f"ApiKey {key}", None)
        assert read_headers(f"bearer  {key}", key).is_key

    @pytest.mark.fault
    @pytest.mark.parametrize(
        "foreign", ["Basic cHJveHk6c2VjcmV0", "Basic", 'Digest username="p", uri="/"', "Negotiate YII=", "X.Y-1 z"]
    )
    def test_a_scheme_that_is_not_ours_is_passed_over_beside_a_key(self, foreign: str) -> None:
        assert read_headers(foreign, KEY) == read_headers(None, KEY)
        assert type(fault(foreign)) is MalformedCredential
        assert type(fault(foreign, KEY[:-1])) is MalformedCredential

    @pytest.mark.parametrize(("scheme", "plaintext"), [("ApiKey", KEY), ("Bearer", TOKEN)])
    def test_the_scheme_may_be_written_in_any_case(self, scheme: str, plaintext: str) -> None:
        for written in (scheme, scheme.lower(), scheme.upper(), scheme.swapcase()):
            assert read_headers(f"{written} {plaintext}", None).secret.reveal() == plaintext

    @pytest.mark.parametrize("space", [" ", "  ", "\t", " \t "])
    def test_white_space_that_a_header_may_have_is_no_part_of_the_credential(self, space: str) -> None:
        assert read_headers(f"{space}ApiKey {space}{KEY}{space}", None).secret.reveal() == KEY
        assert read_headers(None, f"{space}{KEY}{space}").secret.reveal() == KEY

    def test_the_same_key_in_both_headers_is_one_credential_that_does_not_show_itself(self) -> None:
        assert read_headers(f"ApiKey {KEY}", KEY).secret.reveal() == KEY
        assert KEY not in repr(Credential(read_headers(None, KEY).secret, is_key=True))


class TestAmbiguity:
    @pytest.mark.parametrize("authorization", [f"ApiKey {TEST_KEY}", f"Bearer {TEST_KEY}", f"Bearer {TOKEN}"])
    def test_two_different_credentials_are_refused(self, authorization: str) -> None:
        assert type(fault(authorization, KEY)) is AmbiguousCredential

    @pytest.mark.parametrize(
        "broken",
        [
            "",
            f"ApiKey {KEY[:-1]}",
            "Bearer x",
            "Bearer",
            "Bas/ic x",
            f"{KEY} x",
            f"Basic {TEST_KEY}",
            f"Basic x, ApiKey {KEY}",
        ],
    )
    def test_a_good_credential_does_not_make_up_for_a_broken_one(self, broken: str) -> None:
        assert type(fault(broken, KEY)) is MalformedCredential
        assert type(fault(f"ApiKey {KEY}", broken)) is MalformedCredential

    @pytest.mark.parametrize("joined", [f"{KEY},{KEY}", f"{KEY}, {KEY}", f"{KEY},{TEST_KEY}", f"{KEY} {KEY}"])
    def test_a_header_sent_twice_is_refused_and_never_half_read(self, joined: str) -> None:
        """Servers join the lines of a repeated header with commas (RFC 9110, section 5.3)."""
        assert type(fault(None, joined)) is MalformedCredential
        assert type(fault(f"ApiKey {joined}")) is MalformedCredential


class TestMissing:
    def test_is_said_with_the_way_to_send_one(self) -> None:
        missing = fault(None, None)
        assert type(missing) is MissingCredential
        assert "Authorization: ApiKey msk_…" in missing.detail


class TestMalformed:
    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            " ",
            "ApiKey",
            "ApiKey ",
            "Bearer",
            KEY,
            TOKEN,
            f"Basic {KEY}",
            f"Digest {KEY}",
            f"ApiKey:{KEY}",
            f"ApiKey={KEY}",
            f"ApiKey\t{KEY}",
            f"Api Key {KEY}",
            f"ApiKey ApiKey {KEY}",
            f"ApiKey Bearer {TOKEN}",
            f'ApiKey "{KEY}"',
            f"ApiKey {KEY};",
            f"ApiKey {KEY}\n",
            f"ApiKey {KEY}\r\nX-API-Key: {KEY}",
            f"ApiKey {KEY}\x00",
            f"ApiKey {KEY}x",
            f"ApiKey x{KEY}",
            f"ApiKey {KEY} junk",
            f"ApiKey {KEY[:-1]}",
            f"ApiKey {KEY.upper()}",
            f"ApiKey {KEY[:-1]}é",
            f"ApiKey {KEY[:-1]}\xff",
            f"ApiKey {KEY[:-1]}٣",  # a digit to Unicode, none to base62
            f"ApiKey {KEY}\xa0",  # a no-break space, which Python strips and HTTP does not
            f"ApiKey {KEY}\x85",
            f"ApiKey {KEY}\x1f",
            f"\u212apiKey {KEY}",
            f"ApiKey msk_prod_{KEY[9:]}",
            "ApiKey msk_live_",
            "ApiKey " + "A" * 1_000_000,
            "A" * 1_000_000,
            "ApiKey " + KEY * 10_000,
        ],
    )
    def test_other_forms_are_refused(self, authorization: str) -> None:
        assert type(fault(authorization)) is MalformedCredential

    def test_a_token_is_refused_where_a_key_belongs_and_a_password_link_everywhere(self) -> None:
        assert "wrong scheme" in fault(f"ApiKey {TOKEN}").detail
        for given in (fault(None, TOKEN), *(fault(f"{scheme} {LINK}") for scheme in ("Bearer", "ApiKey"))):
            assert type(given) is MalformedCredential
        assert type(fault(None, LINK)) is MalformedCredential

    @pytest.mark.parametrize("text", ["", "ApiKey canary", f"Basic {KEY}", f"ApiKey {KEY}!", f"Bearer {KEY}!"])
    def test_what_was_sent_is_not_repeated(self, text: str) -> None:
        detail = fault(text).detail
        assert "canary" not in detail
        assert KEY not in detail


class TestMistyped:
    @pytest.mark.parametrize("place", range(len(KEY)))
    def test_a_key_with_any_one_character_changed_is_refused(self, place: int) -> None:
        for character in string.ascii_letters + string.digits + "_-":
            if character != KEY[place]:
                changed = KEY[:place] + character + KEY[place + 1 :]
                assert isinstance(fault(None, changed), MalformedCredential | MistypedCredential)

    def test_neighbours_and_the_environment_cannot_be_changed_about(self) -> None:
        for place in range(9, len(KEY) - 1):
            swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
            if swapped != KEY:
                assert type(fault(None, swapped)) is MistypedCredential
        assert type(fault(None, KEY.replace("live", "test"))) is MistypedCredential


def test_every_refusal_but_the_ambiguous_one_is_about_authentication() -> None:
    """They become 401 and not another status, because they are of one branch of the tree."""
    for kind in (MissingCredential, MalformedCredential, MistypedCredential):
        assert issubclass(kind, Unauthenticated)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        (None, "This request carries no credential."),
        ("Basic eDp5", "The Authorization header uses a scheme that is not known here."),
        ("Bearer x", "This is not a credential of this server."),
        (f"Bearer {TOKEN}", "This credential is a CLI token, and only API keys pass."),
    ],
)
def test_where_only_keys_pass_nobody_is_told_to_send_a_token(authorization: str | None, said: str) -> None:
    with pytest.raises(CredentialFault) as caught:
        forms.read_headers(authorization, None, only_keys=True)
    how = "Send an API key as `Authorization: ApiKey msk_…`, `Authorization: Bearer msk_…` or `X-API-Key: msk_…`."
    assert str(caught.value) == f"{said} {how}"
