"""Counters in a file that is mapped into memory: what a process counted is there after it, however it ended.

A slot is for one key and one hour: 64 bytes of counters and moments, and 64 for the address of its last request. Each
number is one aligned word, and moments are written before the count that speaks of them. A process holds a lock on its
file; a file that nobody holds is of a process that has ended, and another adds it up.
"""

import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mushu.batching import unhurried

#: Slots of one file, which takes a megabyte; a process that needs more begins another.
SLOTS: Final = 8_192
#: Slots that are looked at without a rest.
_AT_ONCE: Final = 64
#: Addresses and reasons of one slot that are remembered until it is added up.
_MOST: Final = 8
_SUFFIX: Final = ".counts-1"  # with the version of the layout: files of another are left alone
#: Key id, requests, denials, first and last use and last denial in microseconds since 1970 (0: never), address.
_SLOT: Final = struct.Struct("=24sQQQQQ64s")
_WORDS: Final = _SLOT.size // 8
_REQUESTS, _DENIALS, _FIRST, _LAST, _LAST_DENIED = range(3, 8)
_ADDRESS: Final = slice(64, 128)
_PRIVATE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted of one key within one hour; moments are in microseconds since 1970, and 0 is never."""

    key_id: str
    requests: int
    denials: int
    first: int
    last: int
    last_denied: int
    address: str
    #: When each address was seen last; a process that was killed leaves the last one only.
    addresses: dict[str, int] = field(default_factory=dict)
    #: How often each reason was given, and from where it was asked last; a process that was killed leaves none.
    reasons: dict[str, int] = field(default_factory=dict)
    denied_from: str = ""


@dataclass(slots=True)
class Slot:
    """Where the counters of one key are, and what is remembered beside them."""

    word: int
    #: Of its last request; None where there was none.
    address: str | None = None
    addresses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    denied_from: str = ""

    def note_address(self, moment: int) -> None:
        """Remember when its address was seen last, in this order; the one that was not seen for longest makes room."""
        if self.address is not None:
            self.addresses.pop(self.address, None)
            self.addresses[self.address] = moment
            if len(self.addresses) > _MOST:
                del self.addresses[next(iter(self.addresses))]


class CounterFile:
    """The counters of this process. Without a folder that takes a file, they are in memory alone, and end with it."""

    def __init__(self, folder: Path | None) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
        self._path = folder / self.name if folder is not None else None
        self._slots: list[Slot] = []
        self._file = -1
        if self._path is not None:
            with suppress(OSError):
                self._file = _create(self._path)
        self._map = mmap.mmap(self._file, _SLOT.size * SLOTS)
        self._words = memoryview(self._map).cast("Q")

    @property
    def is_used(self) -> bool:
        return bool(self._slots)

    def slot(self, key_id: str) -> Slot | None:
        """Return a new slot; None where there is no room."""
        if len(self._slots) == SLOTS:
            return None
        slot = Slot(len(self._slots) * _WORDS)
        self._map[slot.word * 8 : slot.word * 8 + 24] = key_id.encode()[:24].ljust(24, b"\0")
        self._slots.append(slot)
        return slot

    def saw(self, slot: Slot, moment: int, address: str) -> None:
        """Count a request."""
        words, word = self._words, slot.word
        if slot.address != address:
            self._begin_address(slot, moment, address)
        words[word + _LAST] = moment
        words[word + _REQUESTS] += 1

    def _begin_address(self, slot: Slot, moment: int, address: str) -> None:
        start = slot.word * 8
        if slot.address is None:
            self._words[slot.word + _FIRST] = moment
        slot.note_address(self._words[slot.word + _LAST])
        slot.address = address
        written = address.encode("ascii", "replace")[:64].ljust(64, b"\0")
        self._map[start + _ADDRESS.start : start + _ADDRESS.stop] = written

    def denied(self, slot: Slot, moment: int, address: str, reason: str) -> None:
        """Count a request that was refused."""
        words, word = self._words, slot.word
        words[word + _LAST_DENIED] = moment
        slot.denied_from = address
        if reason in slot.reasons or len(slot.reasons) < _MOST:
            slot.reasons[reason] = slot.reasons.get(reason, 0) + 1
        words[word + _DENIALS] += 1

    def counts(self) -> list[Count]:
        """Return all that was counted."""
        written = _counts(self._map[: len(self._slots) * _SLOT.size])
        found = []
        for count, slot in unhurried(zip(written, self._slots, strict=True), _AT_ONCE):
            slot.note_address(count.last)
            found.append(replace(count, addresses=slot.addresses, reasons=slot.reasons, denied_from=slot.denied_from))
        return found

    def close(self) -> None:
        """Let go of the memory and of the lock; a parent or child that has it, too, keeps it."""
        self._words.release()
        self._map.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """End, once all was added up.

        Raises:
            OSError: the file is still there.
        """
        try:
            if self._file >= 0 and self._path is not None:
                _remove(self._path)
        finally:
            self.close()


def add_left_files(folder: Path, add: Callable[[str, list[Count]], None]) -> list[str]:
    """Have the files added up whose processes have ended, and remove them.

    Args:
        add: is told name and content of each; what it raises leaves the file where it is.

    Returns:
        The names of those that are gone.
    """
    removed = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(OSError):  # another process was faster
            file = os.open(path, _PRIVATE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), path.stat()):
                    content = os.pread(file, _SLOT.size * SLOTS, 0)
                    add(path.name, _counts(content[: len(content) // _SLOT.size * _SLOT.size]))
                    _remove(path)
                    removed.append(path.name)
            finally:
                os.close(file)
    return removed


def _remove(path: Path) -> None:
    """Remove a file for good: once this has returned, no power cut brings it back."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _counts(content: bytes) -> list[Count]:
    """Return what slots hold."""
    found = []
    for key_id, requests, denials, first, last, last_denied, address in unhurried(_SLOT.iter_unpack(content), _AT_ONCE):
        found.append(Count(_text(key_id), requests, denials, first, last, last_denied, _text(address)))
    return found


def _text(written: bytes) -> str:
    return written.rstrip(b"\0").decode("ascii", "replace")


def _create(path: Path) -> int:
    """Return a new file of this process, which holds its lock, and has its room on the disk.

    Raises:
        OSError: there is no room, or no folder.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    file = os.open(path, _PRIVATE | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A page of a mapping that the disk has no room for would end the process.
        os.posix_fallocate(file, 0, _SLOT.size * SLOTS)
        if not os.path.samestat(os.fstat(file), path.stat()):
            raise FileNotFoundError(path)  # taken for left, between its making and its lock
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    return file
