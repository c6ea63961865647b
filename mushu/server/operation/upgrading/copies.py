"""The folders that hold copies: how one is begun and finished, which are whole, and which may go.

A folder gets its name last, once all that is in it is on disk. So one that is named is whole, and one whose name ends
in `.partial` was left by a process that was killed.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mushu.server.clock import Clock

PARTIAL: Final = ".partial"
#: Revisions of which copies are kept.
REVISIONS_KEPT: Final = 3
_PREFIX: Final = "before-"
_MANIFEST: Final = "copy.json"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is whole, or is being made in `folder`."""

    folder: Path
    #: What the database was at, and what it was to be migrated to.
    revision: str
    target: str
    made_at: str

    @property
    def final(self) -> Path:
        """Where the copy is once it is whole."""
        return self.folder.with_name(self.folder.name.removesuffix(PARTIAL))

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())


def list_copies(instance: Path) -> list[Copy]:
    """Return the copies that are whole, the oldest first; a folder that only looks like one is left out."""
    found = [copy for path in instance.glob(f"{_PREFIX}*") if (copy := _read(path)) is not None]
    return sorted(found, key=lambda copy: copy.made_at)


def remove_partial(instance: Path) -> list[Path]:
    """Remove what a killed process left; the caller holds the lock under which copies are made."""
    left = sorted(instance.glob(f"{_PREFIX}*{PARTIAL}"))
    for path in left:
        shutil.rmtree(path)
    return left


@contextmanager
def new_copy(instance: Path, revision: str, target: str, clock: Clock) -> Iterator[Copy]:
    """Provide the folder of a new copy (0700), to be filled; it is named at the end, and removed after an error."""
    now = clock()
    copy = Copy(_make_folder(instance, target, now), revision, target, now.isoformat(timespec="microseconds"))
    try:
        yield copy
        for path in copy.folder.iterdir():
            flush(path)
        flush(copy.folder)
        copy.folder.rename(copy.final)
        flush(instance)
    except BaseException:
        shutil.rmtree(copy.folder, ignore_errors=True)
        raise


def write_manifest(copy: Copy, rows: Mapping[str, int]) -> None:
    """Note in the copy what it is of, and how many rows each table has."""
    told = {"revision": copy.revision, "target": copy.target, "made_at": copy.made_at, "rows": dict(rows)}
    write_private(copy.folder / _MANIFEST, json.dumps(told, indent=1).encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, with mode 0600."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def remove_between(instance: Path, revision: str) -> list[Path]:
    """Of the copies of one revision, keep the first and the last: one that fails again and again fills no disk."""
    same = [copy for copy in list_copies(instance) if copy.revision == revision]
    return _remove(same[1:-1])


def remove_old(instance: Path) -> list[Path]:
    """Keep the copies of the last few revisions only."""
    latest = {copy.revision: copy.made_at for copy in list_copies(instance)}
    kept = sorted(latest, key=lambda revision: latest[revision])[-REVISIONS_KEPT:]
    return _remove([copy for copy in list_copies(instance) if copy.revision not in kept])


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(instance: Path, target: str, now: datetime) -> Path:
    stem, number = f"{_PREFIX}{target}-{now:%Y%m%dT%H%M%SZ}", 1
    name = stem
    while (instance / name).exists():
        number += 1
        name = f"{stem}-{number}"
    folder = instance / f"{name}{PARTIAL}"
    folder.mkdir(mode=0o700)
    return folder


def _read(folder: Path) -> Copy | None:
    if folder.name.endswith(PARTIAL):
        return None
    try:
        told = json.loads((folder / _MANIFEST).read_bytes())
        return Copy(folder, str(told["revision"]), str(told["target"]), str(told["made_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(copies: list[Copy]) -> list[Path]:
    for copy in copies:
        partial = copy.folder.with_name(copy.folder.name + PARTIAL)
        copy.folder.rename(partial)  # killed half way, it is not taken for a whole one
        shutil.rmtree(partial)
    return [copy.folder for copy in copies]
