"""The kit passes a plugin that keeps the promises, and catches each that breaks one."""

import itertools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from mushu.destination import Attempt, DestinationError, Holding, Receipt, Secret, Surroundings
from mushu.testing import DestinationContract, NewPlace
from mushu.testing.crashes import _removal, _replacement, _restore
from tests.testing.shoebox import Shoebox, ShoeboxPlace


def _places(folder: Path, kind: type[Shoebox]) -> NewPlace:
    numbers = itertools.count()
    return lambda: ShoeboxPlace(folder / str(next(numbers)), kind)


class TestAGoodPlugin(DestinationContract):
    @pytest.fixture
    def new_place(self, tmp_path: Path) -> NewPlace:
        return _places(tmp_path, Shoebox)


class Greedy(Shoebox):
    """Overwrites whatever is there."""

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        return super().write(secret, Attempt(attempt.attempt_id, attempt.key_id, self.read().version))


class Lockless(Shoebox):
    """Looks, and writes a moment later."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def change(self, secret: Secret | None) -> None:
        content = self.changed(secret)
        time.sleep(0.05)
        Path(self.path).write_text(content.reveal())


class Torn(Shoebox):
    """Takes the old value away before it writes the new one."""

    def change(self, secret: Secret | None) -> None:
        Path(self.path).write_text(self.changed(None).reveal())
        Path(self.path).write_text(self.changed(secret).reveal())


class Selfish(Shoebox):
    """Keeps no neighbours."""

    def changed(self, secret: Secret | None) -> Secret:
        return Secret(json.dumps({} if secret is None else {self.field: secret.reveal()}))


class Stale(Shoebox):
    """Remembers what it read."""

    _seen: Holding | None = None

    def read(self) -> Holding:
        self._seen = self._seen or super().read()
        return self._seen


class Restless(Shoebox):
    """Writes again what is already there."""

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        receipt = super().write(secret, attempt)
        with Path(self.path).open("a") as file:
            file.write(" ")
        return receipt


class Cramped(Shoebox):
    """Has one field, whatever it is asked for beside it."""

    def beside(self, name: str) -> Self:
        return self


class Forgetful(Shoebox):
    """Does not know what stood there before."""

    def _former(self, undo: Secret) -> Secret | None:
        return None


class Unguarded(Shoebox):
    """Takes away and puts back without looking."""

    def remove(self, digest: str) -> bool:
        return super().remove(self.read().digest or digest)

    def restore(self, receipt: Receipt) -> bool:
        return super().restore(Receipt(receipt.version, self.read().digest or "", receipt.undo))


class Meddling(Shoebox):
    """Touches the place when it is only asked for its name."""

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        made = super().parse(uri, surroundings)
        if made is not None:
            Path(made.path).write_text("{}")
        return made


class Relative(Shoebox):
    """Is spelled differently each time."""

    @property
    def uri(self) -> str:
        return f"shoebox:/.{self.path}#{self.field}"


class Welcoming(Shoebox):
    """Takes any scheme for its own."""

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        return super().parse(uri if uri.startswith("shoebox:") else "shoebox:/x#y", surroundings)


class Lenient(Shoebox):
    """Leaves out of account what it does not know."""

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        return super().parse(re.sub(r"\?[^#]*", "", uri), surroundings)


class Shouting(Shoebox):
    """Names its settings as the variables are called."""

    known_settings = ("MUSHU_SHOEBOX_SIZE",)


class Bare(Shoebox):
    """Forgets a comma."""

    known_settings = "size"


class Parroting(Shoebox):
    """Repeats a URI that it refuses."""

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        try:
            return super().parse(uri, surroundings)
        except DestinationError as error:
            raise DestinationError(f"{uri} is wrong", permanent=True) from error


class Printing(Shoebox):
    def change(self, secret: Secret | None) -> None:
        print("writing", secret.reveal() if secret else "")
        super().change(secret)


class Logging(Shoebox):
    def change(self, secret: Secret | None) -> None:
        logging.getLogger("shoebox").debug("writing %s", secret.reveal() if secret else "")
        super().change(secret)


class Naming(Shoebox):
    """Says in a conflict what is there instead."""

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        try:
            return super().write(secret, attempt)
        except DestinationError as error:
            error.add_note(f"it holds {self._load()}")
            raise


class Careless(Shoebox):
    """Has the plaintext in a local variable when it raises."""

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        plaintext = secret.reveal()
        return super().write(Secret(plaintext), attempt)


class Chained(Shoebox):
    """Raises from an error that holds the content."""

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        try:
            raise ValueError(secret.reveal())
        except ValueError:
            return super().write(secret, attempt)


class ShortContract(DestinationContract):
    """Tries each kind of step, not each step."""

    each_step = False


_CONTRACT, _SHORT = DestinationContract(), ShortContract()

Promise = Callable[[NewPlace], None]

_BROKEN: list[tuple[type[Shoebox], Promise]] = [
    (Greedy, _CONTRACT.test_a_stale_version_is_a_conflict_and_changes_nothing),
    (Lockless, _CONTRACT.test_of_many_threads_one_wins),
    (Lockless, _CONTRACT.test_of_many_processes_one_wins),
    (Lockless, _CONTRACT.test_a_remover_and_a_writer_do_not_undo_each_other),
    (Torn, lambda place: _CONTRACT.test_killed_at_any_step_it_is_all_or_nothing(place, _replacement)),
    (Torn, lambda place: _CONTRACT.test_killed_at_any_step_it_is_all_or_nothing(place, _restore)),
    (Selfish, lambda place: _CONTRACT.test_killed_at_any_step_it_is_all_or_nothing(place, _removal)),
    (Torn, lambda place: _SHORT.test_killed_at_any_step_it_is_all_or_nothing(place, _replacement)),
    (Selfish, lambda place: _SHORT.test_killed_at_any_step_it_is_all_or_nothing(place, _removal)),
    (Selfish, _CONTRACT.test_neighbours_survive_a_write_and_a_replacement),
    (Selfish, _CONTRACT.test_restore_puts_the_former_value_back),
    (Selfish, _CONTRACT.test_remove_takes_the_key_away_and_no_neighbour),
    (Stale, _CONTRACT.test_a_read_is_never_stale),
    (Restless, _CONTRACT.test_a_second_write_of_the_same_key_is_answered_without_writing),
    (Cramped, _CONTRACT.test_the_address_beside_a_key_is_put_there_once_and_the_key_stays),
    (Forgetful, _CONTRACT.test_restore_puts_the_former_value_back),
    (Unguarded, _CONTRACT.test_remove_is_guarded_by_the_digest),
    (Unguarded, _CONTRACT.test_restore_leaves_a_foreign_value_alone),
    (Meddling, _CONTRACT.test_parsing_touches_nothing),
    (Relative, _CONTRACT.test_the_uri_is_parsed_to_the_same_uri_from_anywhere),
    (Welcoming, lambda place: _CONTRACT.test_another_scheme_is_not_ours(place, "other:x#Y")),
    (Lenient, _CONTRACT.test_an_option_that_nobody_knows_is_refused_or_names_another_place),
    (Shouting, _CONTRACT.test_settings_that_are_declared_are_names_as_an_operator_gives_them),
    (Bare, _CONTRACT.test_settings_that_are_declared_are_names_as_an_operator_gives_them),
    (Parroting, _CONTRACT.test_a_pasted_key_is_refused_and_not_repeated),
]


@pytest.mark.parametrize(
    ("kind", "promise"), _BROKEN, ids=[f"{kind.__name__}-{number}" for number, (kind, _) in enumerate(_BROKEN)]
)
def test_a_broken_promise_is_caught(tmp_path: Path, kind: type[Shoebox], promise: Promise) -> None:
    promise(_places(_made(tmp_path / "good"), Shoebox))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        promise(_places(_made(tmp_path / "broken"), kind))


@pytest.mark.parametrize("kind", [Printing, Logging, Naming, Careless, Chained])
def test_a_leak_is_caught(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, kind: type[Shoebox]
) -> None:
    with pytest.raises(AssertionError):
        _CONTRACT.test_nothing_that_is_returned_or_raised_shows_a_value(_places(tmp_path, kind), capfd, caplog)


def test_an_author_who_forgot_the_place_is_told_what_to_write() -> None:
    fixture = vars(DestinationContract)["new_place"]
    with pytest.raises(NotImplementedError, match="returns a fresh Place"):
        fixture._get_wrapped_function()(_CONTRACT)


def test_a_place_that_cannot_lose_answers_skips_that_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ShoeboxPlace, "lose_next_answer")
    with pytest.raises(pytest.skip.Exception, match="does not know how to lose an answer"):
        _CONTRACT.test_a_lost_answer_passes_or_is_settled_and_the_retry_finds_its_key(_places(tmp_path, Shoebox))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
