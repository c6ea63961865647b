"""Finding the plugin of a URI, and the shapes of the contract."""

import traceback
from pathlib import Path

import pytest

from mushu import destination
from mushu.destination import (
    Conflict,
    DestinationError,
    Receipt,
    Secret,
    Surroundings,
    installed_schemes,
    open_destination,
)

HERE = Surroundings(Path("/srv"))


def test_installed_plugins_are_found_by_entry_point() -> None:
    assert "env" in installed_schemes()


def test_a_uri_is_opened_by_the_plugin_of_its_scheme() -> None:
    assert open_destination("env:/srv/app/.env", HERE).uri == "env:/srv/app/.env#MUSHU_API_KEY"


@pytest.mark.parametrize("uri", ["", "nothing", "nosuch:thing", ":x", "ENV:/srv/.env", "/srv/app/.env", "1env:/x"])
def test_a_uri_of_no_plugin_is_refused_and_says_which_schemes_there_are(uri: str) -> None:
    with pytest.raises(DestinationError, match=r"env:") as caught:
        open_destination(uri, HERE)
    assert caught.value.permanent


def test_a_key_pasted_as_a_uri_is_not_repeated() -> None:
    with pytest.raises(DestinationError) as caught:
        open_destination("msk_live_abcdefghijklmnopqrstuvwxyz12", HERE)
    assert "msk_live_abc" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "env:/srv/msk_live_abcdefghijklmnopqrstuvwxyz12/.env",
        "nosuch:x#msk_test_abcdefghijklmnopqrstuvwxyz12",
        "nosuch:x?token=mct_%61bcdefghijklmnopqrstuvwxyz12",
        "nosuch://ada:hunter22@host/x",
        "vault://hunter22@127.0.0.1/secret",
    ],
)
def test_a_credential_in_a_uri_is_refused_for_every_plugin_and_not_repeated(uri: str) -> None:
    with pytest.raises(DestinationError, match="There is a credential in this URI") as caught:
        open_destination(uri, HERE)
    assert caught.value.permanent
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    for secret in ("hunter22", "bcdefghijklmnopqrstuvwxyz12"):
        assert secret not in f"{caught.value} {frames}"


@pytest.mark.parametrize("uri", ["env:/srv/a@b/.env", "env:/srv/.env%40x", "env:/srv/a//b@c/.env"])
def test_an_at_sign_in_a_path_is_no_credential(uri: str) -> None:
    assert open_destination(uri, HERE).scheme == "env"


def test_a_plugin_that_answers_none_leaves_the_uri_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shy:
        @staticmethod
        def load() -> type["Shy"]:
            return Shy

        @staticmethod
        def parse(uri: str, surroundings: Surroundings) -> None:
            return None

    monkeypatch.setattr(destination, "entry_points", lambda **_: [Shy] if "name" in _ else [])
    with pytest.raises(DestinationError, match="none"):
        open_destination("shy:thing", HERE)


def test_errors_say_whether_trying_again_can_help() -> None:
    assert DestinationError("x", permanent=True).permanent
    assert not DestinationError("x", permanent=False).permanent
    assert Conflict("x").permanent


def test_a_receipt_does_not_show_what_it_could_undo() -> None:
    assert "former" not in repr(Receipt("v", "d", Secret("former")))


def test_surroundings_do_not_show_the_settings_of_a_plugin() -> None:
    assert "hvs.token" not in repr(Surroundings(Path("/srv"), {"token": "hvs.token"}))
