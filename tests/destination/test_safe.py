"""How a plugin is called: patiently, and such that nothing of it leaks."""

import traceback

import pytest

from mushu.destination import Conflict, DestinationError
from mushu.destination.safe import guarded, patiently
from mushu.keyformat import Prefix, generate
from mushu.testing.leaks import traces


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

    @pytest.mark.fault
    @pytest.mark.parametrize(
        ("said", "goes_on"), [("disk full\n", "disk full."), ("", "The plugin gives no reason (Conflict).")]
    )
    def test_it_is_a_sentence_behind_which_another_can_stand(self, said: str, goes_on: str) -> None:
        with pytest.raises(DestinationError) as caught:
            guarded(lambda: _raise(Conflict(said)))
        assert str(caught.value) == goes_on

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
