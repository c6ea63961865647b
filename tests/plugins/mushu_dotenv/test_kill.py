"""What a killed writer leaves behind; that old or new is held after each step is a promise of the kit."""

import itertools
import signal
import stat
from pathlib import Path

from mushu.destination import Attempt
from mushu.testing.processes import kill_at, steps_of
from tests.long import LONG
from tests.plugins.mushu_dotenv.places import KEY, deliver, destination, leftovers, private

_OLD = b"A=1\nMUSHU_API_KEY=old\n"
_NEW = b"A=1\nMUSHU_API_KEY=" + KEY.reveal().encode() + b"\n"


def _write(folder: Path) -> None:
    place = destination(folder / ".env")
    place.write(KEY, Attempt("att_1", "key_1", place.read().version))


def test_what_a_killed_writer_leaves_is_private_and_swept_by_the_next(tmp_path: Path) -> None:
    numbers = itertools.count()

    def stage() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        private(folder / ".env", _OLD)
        return folder

    rehearsal = stage()
    steps = steps_of(lambda: _write(rehearsal), ("mushu_dotenv",), each=LONG)
    left = set()
    # The first half only looks; the kit tries that too.
    for step in steps[len(steps) // 2 :]:
        folder = stage()
        assert kill_at(step, lambda folder=folder: _write(folder), ("mushu_dotenv",)) == -signal.SIGKILL  # type: ignore[misc]
        content = (folder / ".env").read_bytes()
        assert content in (_OLD, _NEW)
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
            assert path.match(".env*"), "a .gitignore with .env* must cover it"
        left.add((content == _NEW, len(leftovers(folder))))
        deliver(folder / ".env", variable="NEXT")
        assert leftovers(folder) == []
        assert (folder / ".env").read_bytes().startswith(content)
    assert {(False, 0), (False, 1), (True, 0)} <= left


def test_only_what_looks_like_our_own_leftovers_is_swept(tmp_path: Path) -> None:
    ours = private(tmp_path / ".env.mushu-0123456789abcdef.tmp")
    others = [
        private(tmp_path / name)
        for name in (".env.mushu-.tmp", ".env.mushu-x.tmp", ".env.mushu-0123456789abcdef.tmp.bak", ".env.local")
    ]
    folder = tmp_path / ".env.mushu-aaaaaaaaaaaaaaaa.tmp"
    folder.mkdir()
    deliver(tmp_path / ".env")
    assert not ours.exists()
    assert folder.exists()
    assert all(path.exists() for path in others)
