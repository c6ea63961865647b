"""A `.env` file as the kit wants it, and the few hands that the tests of the plugin share."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from dotenv import dotenv_values

from mushu.destination import Attempt, DestinationError, Receipt, Secret, Surroundings
from mushu.testing import Place
from mushu_dotenv import DotenvDestination

VARIABLE = "MUSHU_API_KEY"
KEY = Secret("msk_test_0123456789abcdefghijklmnopqr")

#: A file with a value that must never be shown, and the same file with the key in its place.
OLD = b"A=1\nMUSHU_API_KEY=s3cret\n"
NEW = b"A=1\nMUSHU_API_KEY=" + KEY.reveal().encode() + b"\n"

_NEIGHBOURS = (
    "# first line\r\n\r\nexport DEBUG = 'yes'  # not \"no\"\r\n"
    'PEM="-----BEGIN\nMUSHU_API_KEY_2=decoy\n-----END"\n'
    "MUSHU_API_KEY_OLD=${DEBUG}\nmushu_api_key=lower\n   \nBARE\nLAST=🗝 no newline at the end"
)


_MARK = "\ufeff"
#: Below a line of ours, the decoy is a reason to refuse, and so is the mark right before it.
_NEIGHBOURS_ABOVE = (
    _MARK + "# first line\r\n\r\nexport DEBUG = 'yes'  # not \"no\"\r\n"
    'PEM="-----BEGIN\nMUSHU_API_KEY=decoy\n-----END"\n'
    "MUSHU_API_KEY_OLD=${DEBUG}\nmushu_api_key=lower\nLAST=🗝\n"
)


class EnvPlace(Place):
    """A folder with one `.env` in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.file = folder / ".env"

    def destination(self) -> DotenvDestination:
        return destination(self.file)

    def hold(self, value: Secret) -> None:
        """Write as an editor does that knows nothing of locks."""
        line = f"{VARIABLE}={value.reveal()}"
        lines = self._text().split("\n")
        found = [number for number, text in enumerate(lines) if text.startswith(f"{VARIABLE}=") and "decoy" not in text]
        if found:
            lines[found[0]] = line
        else:
            lines = [line, *lines]
        self._put("\n".join(lines))

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.file.parent.iterdir()))

    def add_neighbours(self) -> None:
        text = self._text()
        self._put(text + _NEIGHBOURS)

    def neighbours(self) -> object:
        if not self.file.exists():
            return None
        values = dotenv_values(self.file, interpolate=False, encoding="utf-8")
        values.pop(VARIABLE, None)
        return list(values.items())

    @contextmanager
    def lose_next_answer(self) -> Iterator[None]:
        """Let the disk fail right after the file was replaced."""
        fsync = os.fsync

        def failing(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        with mock.patch("os.fsync", failing):
            yield

    def _text(self) -> str:
        return self.file.read_bytes().decode() if self.file.exists() else ""

    def _put(self, text: str) -> None:
        self.file.touch(0o600)
        self.file.write_bytes(text.encode())


class MarkedEnvPlace(EnvPlace):
    """A file with a byte order mark, and a decoy in the lines of a value: where both stand above the line of ours."""

    def hold(self, value: Secret) -> None:
        """Write as an editor does that moves the line to the end."""
        lines = self._text().splitlines(keepends=True)
        others = [text for text in lines if not text.startswith(f"{VARIABLE}=") or "decoy" in text]
        self._put("".join([*others, f"{VARIABLE}={value.reveal()}"]))

    def add_neighbours(self) -> None:
        self._put(_NEIGHBOURS_ABOVE + self._text())

    def neighbours(self) -> object:
        return super().neighbours(), self._text().startswith(_MARK)


@dataclass(frozen=True)
class Trace:
    """All that can be seen of a file, to tell that nothing touched it."""

    status: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, path: Path) -> "Trace":
        seen = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
        return cls((seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns), content)


def destination(path: Path, variable: str = VARIABLE, timeout: str = "120") -> DotenvDestination:
    """Return the destination for `variable` in the file at `path`; patient, because a busy machine is no failure."""
    uri = f"env:{str(path).replace('%', '%25')}#{variable}"
    made = DotenvDestination.parse(uri, Surroundings(Path("/nowhere"), {"timeout": timeout}))
    assert made is not None
    return made


def deliver(path: Path, secret: Secret = KEY, variable: str = VARIABLE) -> Receipt:
    """Write `secret` as a caller does that has just looked."""
    place = destination(path, variable)
    return place.write(secret, Attempt("att_1", "key_1", place.read().version))


def private(path: Path, content: bytes = b"") -> Path:
    """Make a file that only its owner can read."""
    path.touch(0o600)
    path.chmod(0o600)
    path.write_bytes(content)
    return path


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files in `folder`."""
    return sorted(folder.glob(".env.mushu-*.tmp"))


def assert_refused(file: Path, watched: set[Path], reason: str, way_out: str) -> None:
    """Try to deliver to `file`; assert that it is refused in so many words, and that nothing `watched` was touched."""
    before = {path: Trace.of(path) for path in watched}
    folder = set(file.parent.iterdir())
    for act in (destination(file).preflight, lambda: deliver(file)):
        with pytest.raises(DestinationError) as caught:
            act()
        assert caught.value.permanent
        assert reason in str(caught.value)
        assert way_out in str(caught.value)
        assert "s3cret" not in str(caught.value)
    assert {path: Trace.of(path) for path in watched} == before
    assert set(file.parent.iterdir()) == folder, "a refusal must leave nothing behind"
