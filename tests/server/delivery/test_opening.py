"""How a plugin is opened and called: with its own settings, patiently, and such that nothing of it leaks."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from mushu import destination
from mushu.destination import Conflict, Destination, DestinationError, Surroundings
from mushu.keyformat import Prefix, generate
from mushu.server.delivery import opening
from mushu.server.delivery.opening import guarded, opener, patiently
from mushu.testing.leaks import traces
from tests.server.delivery.shelf import FakeDestination, Shelf

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

    monkeypatch.setattr(opening, "open_destination", search)
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

        monkeypatch.setattr(opening, "open_destination", note)
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
        assert open_here("env:a.env").uri == f"env:{tmp_path}/a.env#{destination.DEFAULT_FIELD}"

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
            guarded(lambda: opener(tmp_path, {}, broken)("scribe:/a"))
        assert not caught.value.permanent
        assert scribe == []

    def test_all_that_is_installed_is_searched_once_for_a_scheme(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        searched: list[str] = []
        search = destination.open_destination

        def count(uri: str, surroundings: Surroundings) -> Destination:
            searched.append(uri)
            return search(uri, surroundings)

        monkeypatch.setattr(opening, "open_destination", count)
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


def _raise(error: Exception) -> None:
    raise error


class TestGuarded:
    def test_an_answer_is_handed_on(self) -> None:
        assert guarded(lambda: 5) == 5

    @pytest.mark.parametrize("permanent", [False, True])
    def test_what_a_plugin_says_is_kept(self, permanent: bool) -> None:
        with pytest.raises(DestinationError, match=r"^It is sealed\.$") as caught:
            guarded(lambda: _raise(DestinationError("It is sealed.", permanent=permanent)))
        assert caught.value.permanent is permanent

    def test_a_conflict_is_for_good(self) -> None:
        with pytest.raises(DestinationError) as caught:
            guarded(lambda: _raise(Conflict("It changed.")))
        assert caught.value.permanent

    def test_of_any_other_error_only_the_name_goes_on(self) -> None:
        with pytest.raises(DestinationError, match=r"failed unexpectedly \(KeyError\)") as caught:
            guarded(lambda: _raise(KeyError("value")))
        assert not caught.value.permanent

    def test_what_stops_the_process_is_not_held_up(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            guarded(lambda: _raise(KeyboardInterrupt()))  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", [ValueError, lambda text: DestinationError(text, permanent=True)])
    def test_no_key_goes_on_neither_said_nor_caused_nor_local(self, kind: type[Exception]) -> None:
        key = generate(Prefix.LIVE_KEY)

        def plugin() -> None:
            plaintext = key.reveal()
            try:
                raise ConnectionError(plaintext)
            except ConnectionError as error:
                raise kind(f"It did not take {plaintext}.") from error

        with pytest.raises(DestinationError) as caught:
            guarded(plugin)
        assert not [text for text in traces(caught.value) if key.reveal() in text]
        assert caught.value.__cause__ is caught.value.__context__ is None
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert "plugin" not in frames


class TestPatiently:
    def _tried(self, *permanent: bool) -> tuple[list[float], int]:
        errors = [DestinationError("no", permanent=one) for one in permanent]
        pauses: list[float] = []
        calls = 0

        def act() -> str:
            nonlocal calls
            calls += 1
            if errors:
                raise errors.pop(0)
            return "done"

        if len(permanent) > 2 or any(permanent):
            with pytest.raises(DestinationError):
                patiently(act, pauses.append)
        else:
            assert patiently(act, pauses.append) == "done"
        return pauses, calls

    def test_what_works_is_done_once(self) -> None:
        assert self._tried() == ([], 1)

    def test_what_may_pass_is_tried_three_times_with_pauses(self) -> None:
        assert self._tried(False) == ([0.2], 2)
        assert self._tried(False, False) == ([0.2, 0.8], 3)
        assert self._tried(False, False, False) == ([0.2, 0.8], 3)

    def test_what_is_for_good_is_not(self) -> None:
        assert self._tried(True) == ([], 1)
        assert self._tried(False, True) == ([0.2], 2)
