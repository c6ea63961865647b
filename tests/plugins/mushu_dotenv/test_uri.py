"""The URI: one spelling for one variable, nothing touched, nothing repeated."""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mushu import keyformat
from mushu.destination import DestinationError, Surroundings, installed_schemes, open_destination
from mushu_dotenv import DotenvDestination
from mushu_dotenv.uri import EnvAddress, parse_address

BASE = Path("/srv/app")


def _uri_of(uri: str, base: Path = BASE) -> str:
    destination = DotenvDestination.parse(uri, Surroundings(base))
    assert destination is not None
    return destination.uri


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert "env" in installed_schemes()
    assert isinstance(open_destination("env:/srv/.env", Surroundings(BASE)), DotenvDestination)


@pytest.mark.parametrize(
    ("given_uri", "canonical"),
    [
        ("env:.env", "env:/srv/app/.env#MUSHU_API_KEY"),
        ("env:.env#KEY", "env:/srv/app/.env#KEY"),
        ("env:./conf/../.env#_k9", "env:/srv/app/.env#_k9"),
        ("env:../.env", "env:/srv/.env#MUSHU_API_KEY"),
        ("env:/etc//x/./.env", "env:/etc/x/.env#MUSHU_API_KEY"),
        ("env:/../../.env", "env:/.env#MUSHU_API_KEY"),
        ("env:/a b/.env", "env:/a%20b/.env#MUSHU_API_KEY"),
        ("env:/a%20b/%2Eenv", "env:/a%20b/.env#MUSHU_API_KEY"),
        ("env:/a%23b%3Fc%25d", "env:/a%23b%3Fc%25d#MUSHU_API_KEY"),
        ("env:/a\tb\n\x1b[31m", "env:/a%09b%0A%1B[31m#MUSHU_API_KEY"),
        ("env:/%C3%BC/\N{KEY}", "env:/ü/\N{KEY}#MUSHU_API_KEY"),
        ("env:/a%FFb", "env:/a%FFb#MUSHU_API_KEY"),
        ("env:/a\u202eb", "env:/a%E2%80%AEb#MUSHU_API_KEY"),
        ("env:./~x", "env:/srv/app/~x#MUSHU_API_KEY"),
        ("env:a:b@c", "env:/srv/app/a:b@c#MUSHU_API_KEY"),
    ],
)
def test_every_spelling_has_one_canonical_form(given_uri: str, canonical: str) -> None:
    assert _uri_of(given_uri) == canonical
    assert _uri_of(canonical, Path("/elsewhere")) == canonical


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("env:", "names no file"),
        ("env:#KEY", "names no file"),
        ("env:/srv/", "names a folder"),
        ("env:.", "names a folder"),
        ("env:/srv/..", "names a folder"),
        ("env:/srv/%2E", "names a folder"),
        ("env://host/.env", "one slash"),
        ("env:///srv/.env", "one slash"),
        ("env:%2F/srv/.env", "one slash"),
        ("env:/srv/.env?x=1", "no query"),
        ("env:/srv/.env?", "no query"),
        ("env:/srv/\0.env", "NUL"),
        ("env:/srv/%00.env", "NUL"),
        ("env:~/.env", "Write the full path"),
        ("env:~user/.env", "Write the full path"),
        ("env:/srv/.env#", "name of a variable"),
        ("env:/srv/.env#9KEY", "name of a variable"),
        ("env:/srv/.env#A-B", "name of a variable"),
        ("env:/srv/.env#A B", "name of a variable"),
        ("env:/srv/.env#KEY\n", "name of a variable"),
        ("env:/srv/.env#KÉY", "name of a variable"),
        ("env:/srv/.env#A#B", "written %23"),
        ("env:/srv/%zz", "two hexadecimal digits"),
        ("env:/srv/%", "two hexadecimal digits"),
        ("env:/srv/%4", "two hexadecimal digits"),
        ("env:/srv/\ud800", "characters that no file name"),
    ],
)
def test_a_bad_uri_is_refused_with_a_sentence_that_repeats_nothing(uri: str, sentence: str) -> None:
    with pytest.raises(DestinationError, match=sentence) as caught:
        _uri_of(uri)
    assert caught.value.permanent
    assert "for example env:/srv/app/.env#MUSHU_API_KEY" in str(caught.value)
    assert "host" not in str(caught.value) or "no host" in str(caught.value)


@pytest.mark.parametrize("prefix", list(keyformat.Prefix))
@pytest.mark.parametrize("uri", ["env:{}", "env:/srv/{}", "env:.env#{}", "env:.env#{}=x", "env:/srv/%6D{}"])
def test_a_credential_in_the_uri_is_refused_and_not_repeated(prefix: keyformat.Prefix, uri: str) -> None:
    secret = keyformat.generate(prefix)
    text = secret.reveal().removeprefix("m") if "%6D" in uri else secret.reveal()
    with pytest.raises(DestinationError, match="looks like a key") as caught:
        _uri_of(uri.format(text))
    assert text not in str(caught.value)
    assert caught.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("mushu_dotenv")]
    assert ours
    assert not any(text in repr(frame.f_locals) for frame in ours)


def test_half_a_credential_is_refused_too() -> None:
    with pytest.raises(DestinationError, match="looks like a key"):
        _uri_of("env:.env#" + keyformat.generate(keyformat.Prefix.LIVE_KEY).reveal()[:-8])


def test_names_that_only_begin_like_a_credential_are_names() -> None:
    assert _uri_of("env:/srv/mct_app/.env#mct_token") == "env:/srv/mct_app/.env#mct_token"


@pytest.mark.parametrize("uri", ["vault:x#Y", "ENV:.env", "envx:.env", "env", "", " env:.env"])
def test_another_scheme_is_not_ours(uri: str) -> None:
    assert DotenvDestination.parse(uri, Surroundings(BASE)) is None


def test_two_slashes_of_a_base_are_one() -> None:
    assert _uri_of("env:.env", Path("//srv")) == "env:/srv/.env#MUSHU_API_KEY"


def test_a_relative_base_is_refused() -> None:
    with pytest.raises(DestinationError, match="relative"):
        _uri_of("env:.env", Path("here"))


def test_parsing_touches_nothing() -> None:
    assert _uri_of("env:/nonexistent/folder/.env")


@pytest.mark.parametrize("timeout", ["x", "-1", "nan", "inf", "3601"])
def test_a_lock_timeout_that_is_no_time_is_refused(timeout: str) -> None:
    with pytest.raises(DestinationError, match="number of seconds"):
        DotenvDestination.parse("env:.env", Surroundings(BASE, {"timeout": timeout}))


_COMPONENTS = st.binary(min_size=1, max_size=20).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)


@given(st.lists(_COMPONENTS, min_size=1, max_size=4), st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True))
def test_any_path_at_all_survives_the_round_trip(components: list[bytes], variable: str) -> None:
    address = EnvAddress(os.fsdecode(b"/" + b"/".join(components)), variable)
    assert parse_address(address.uri, BASE) == address
    assert address.uri.isprintable()
    assert not set(address.uri) & set(" ?")
    address.uri.encode()  # can be stored and sent
