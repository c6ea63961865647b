"""A folder on the way that its owner swaps for a link while root delivers: at whatever step, the link leads nowhere."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu_dotenv.locking import LOCK_NAME
from tests.plugins.mushu_dotenv.places import KEY, NEW, OLD, Trace, deliver, destination, private
from tests.plugins.mushu_dotenv.users import NOBODY, needs_root

pytestmark = needs_root

_CALLS = ("open", "stat", "readlink", "rename", "listdir", "unlink", "access", "link")
_MOST_STEPS = 300


@contextmanager
def _at_step(number: int, act: Callable[[], None]) -> Iterator[list[int]]:
    """Run `act` right before the call of the system with this number; yield a list that counts them."""
    counted: list[int] = []

    def watching(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            counted.append(1)
            if len(counted) == number:
                act()
            return real(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in _CALLS:
            patched.setattr(os, name, watching(getattr(os, name)))
        yield counted


class _Stage:
    """The folder of a user, and one of root that the user would like to have changed."""

    def __init__(self, at: Path) -> None:
        self.victim = at / "of-root"
        self.victim.mkdir(mode=0o755)
        private(self.victim / ".env", OLD)
        self.home = at / "home"
        self.conf = self.home / "conf"
        self.conf.mkdir(parents=True)
        self.file = private(self.conf / ".env", OLD)
        for path in (self.home, self.conf, self.file):
            os.chown(path, NOBODY, NOBODY)
        self._before = Trace.of(self.victim / ".env")

    def swap(self) -> None:
        self.conf.rename(self.home / "aside")
        self.conf.symlink_to(self.victim)
        os.chown(self.conf, NOBODY, NOBODY, follow_symlinks=False)

    def assert_victim_untouched(self) -> None:
        assert [path.name for path in self.victim.iterdir()] == [".env"]
        assert Trace.of(self.victim / ".env") == self._before


@pytest.mark.fault
def test_a_folder_that_is_swapped_for_a_link_at_any_step_leads_root_nowhere(open_path: Path) -> None:
    outcomes = set()
    for number in itertools.count(1):
        assert number < _MOST_STEPS
        at = open_path / str(number)
        at.mkdir(mode=0o755)
        stage = _Stage(at)
        refused = ""
        with _at_step(number, stage.swap) as counted:
            try:
                deliver(stage.file)
            except DestinationError as error:
                refused = str(error)
        stage.assert_victim_untouched()
        if len(counted) < number:  # it was done before that step
            assert stage.file.read_bytes() == NEW
            break
        # What was written is in the folder that was checked, wherever that is now, or nowhere.
        held = (stage.home / "aside" / ".env").read_bytes()
        assert held == OLD if refused and "Read the destination again" not in refused else held in (OLD, NEW)
        outcomes.add((bool(refused), held == NEW))
    assert {(True, False), (False, True)} <= outcomes, "swapped before the last look, and after it"


@pytest.mark.fault
def test_what_was_written_to_a_folder_that_is_gone_is_not_found_there(open_path: Path) -> None:
    stage = _Stage(open_path)
    real = os.rename

    def swapping(*arguments: object, **named: object) -> None:
        patched.setattr(os, "rename", real)
        stage.swap()
        real(*arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "rename", swapping)
        deliver(stage.file)
    stage.assert_victim_untouched()
    assert (stage.home / "aside" / ".env").read_bytes() == NEW
    with pytest.raises(DestinationError):
        destination(stage.file).preflight()
    assert destination(stage.file).read().digest != KEY.digest(), "whoever looks for the key at its path finds none"


@pytest.mark.fault
def test_no_lock_is_made_where_a_swapped_folder_leads(open_path: Path) -> None:
    stage = _Stage(open_path)
    stage.swap()
    with pytest.raises(DestinationError, match="which nobody can make lead elsewhere"):
        deliver(stage.file)
    assert not (stage.victim / LOCK_NAME).exists()
