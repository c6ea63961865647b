"""Finding the plugin of a URI, and opening it with its own settings."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from mushu.destination import DEFAULT_FIELD, Destination, DestinationError, Surroundings, registry
from mushu.destination.registry import installed_schemes, open_destination, opener
from mushu.destination.target import Target
from mushu.keyformat import Prefix, generate
from tests.server.delivery.shelf import FakeDestination, Shelf

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

    monkeypatch.setattr(registry, "entry_points", lambda **_: [Shy] if "name" in _ else [])
    with pytest.raises(DestinationError, match="none"):
        open_destination("shy:thing", HERE)


#: A URI that the plugin was given, and with which settings.
Entry = tuple[str, Mapping[str, str]]


@pytest.fixture
def scribe(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """A plugin `scribe:` that takes several spellings of one place, and writes down how it is opened."""
    entries: list[Entry] = []

    class Scribe(FakeDestination):
        @classmethod
        def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
            entries.append((uri, surroundings.settings))
            return cls(Shelf(), uri.removeprefix("scribe:").strip("/"))

        @property
        def uri(self) -> str:
            return f"scribe:/{self.name}"

    def search(uri: str, surroundings: Surroundings) -> Destination:
        found = Scribe.parse(uri, surroundings)
        assert found is not None
        return found

    monkeypatch.setattr(registry, "open_destination", search)
    return entries


class TestOpener:
    def test_a_plugin_sees_its_own_settings_and_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[str, Surroundings]] = []
        opened = FakeDestination(Shelf(), "a")

        def note(uri: str, surroundings: Surroundings) -> Destination:
            seen.append((uri, surroundings))
            return opened

        monkeypatch.setattr(registry, "open_destination", note)
        environ = {"MUSHU_FAKE_TIMEOUT": "5", "MUSHU_FAKER_X": "y", "MUSHU_OTHER_TOKEN": "t", "FAKE_TIMEOUT": "6"}
        assert opener(tmp_path, environ)("fake:a#B") is opened
        assert seen == [("fake:a#B", Surroundings(tmp_path, {"timeout": "5"}))]

    def test_the_environment_is_looked_at_when_it_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_here = opener(tmp_path)
        monkeypatch.setenv("MUSHU_ENV_TIMEOUT", "not a number")
        with pytest.raises(DestinationError, match="timeout"):
            open_here("env:a.env")
        monkeypatch.delenv("MUSHU_ENV_TIMEOUT")
        assert open_here("env:a.env").uri == f"env:{tmp_path}/a.env#{DEFAULT_FIELD}"

    def test_what_a_place_has_of_its_own_overrides_the_environment(self, tmp_path: Path, scribe: list[Entry]) -> None:
        own = {"scribe:/a": {"token": "of a", "addr": "there"}}
        open_here = opener(
            tmp_path, {"MUSHU_SCRIBE_TOKEN": "common", "MUSHU_SCRIBE_TIMEOUT": "5"}, lambda uri: own.get(uri, {})
        )
        assert open_here("scribe:/a").uri == "scribe:/a"
        assert scribe[-1] == ("scribe:/a", {"token": "of a", "addr": "there", "timeout": "5"})
        open_here("scribe:/b")
        assert scribe[-1] == ("scribe:/b", {"token": "common", "timeout": "5"})

    @pytest.mark.parametrize("spelling", ["scribe:/a/", "scribe:a", "scribe:///a"])
    def test_in_whichever_spelling_the_place_is_named(self, tmp_path: Path, scribe: list[Entry], spelling: str) -> None:
        open_here = opener(tmp_path, {}, lambda uri: {"token": "of a"} if uri == "scribe:/a" else {})
        assert open_here(spelling).uri == "scribe:/a"
        assert scribe[-1] == ("scribe:/a", {"token": "of a"})

    def test_settings_that_cannot_be_read_end_the_opening_and_the_plugin_sees_nothing(
        self, tmp_path: Path, scribe: list[Entry]
    ) -> None:
        def broken(_: str) -> Mapping[str, str]:
            raise DestinationError("The ring is gone.", permanent=False)

        with pytest.raises(DestinationError, match="ring is gone") as caught:
            Target.open(opener(tmp_path, {}, broken), "scribe:/a")
        assert not caught.value.permanent
        assert scribe == []

    def test_all_that_is_installed_is_searched_once_for_a_scheme(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        searched: list[str] = []
        search = registry.open_destination

        def count(uri: str, surroundings: Surroundings) -> Destination:
            searched.append(uri)
            return search(uri, surroundings)

        monkeypatch.setattr(registry, "open_destination", count)
        open_here = opener(tmp_path, {})
        uris = [open_here(f"env:/srv/{number}/.env").uri for number in range(3)]
        assert uris == [f"env:/srv/{number}/.env#MUSHU_API_KEY" for number in range(3)]
        assert searched == ["env:/srv/0/.env"]

    @pytest.mark.parametrize(
        "rest", ["//root:hunter2@host/.env", f"/srv/{generate(Prefix.LIVE_KEY).reveal()}"], ids=["password", "key"]
    )
    def test_a_plugin_that_is_remembered_still_sees_no_credential(self, tmp_path: Path, rest: str) -> None:
        open_here = opener(tmp_path, {})
        open_here("env:/srv/.env")
        with pytest.raises(DestinationError, match="There is a credential in this URI"):
            open_here(f"env:{rest}")

    def test_and_every_time_for_one_that_nobody_serves_so_that_a_plugin_may_be_installed_later(
        self, tmp_path: Path
    ) -> None:
        open_here = opener(tmp_path, {})
        for uri in ("nosuch:thing", "env:", "nosuch:thing"):
            with pytest.raises(DestinationError) as caught:
                open_here(uri)
            assert caught.value.permanent
