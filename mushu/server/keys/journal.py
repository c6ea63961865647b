"""The journal of revoked keys: what makes a deletion outlive the restoring of an old backup.

A file beside the database, one digest a line, only ever added to, and on disk before a deletion is committed. The
database remembers up to where it has followed. After an old copy was put in its place it remembers less than the file
holds, and `follow` revokes the rest again. A digest opens nothing, so the file is no secret; whoever can write to it
can revoke keys, as whoever can write to the database can.
"""

import logging
import os
import re
from pathlib import Path
from typing import Final

from sqlalchemy import select

from mushu.server.db import AnySession, before_commit, journal_path
from mushu.server.keys.models import ApiKey, JournalPosition
from mushu.server.keys.states import State

_LOG: Final = logging.getLogger(__name__)
_NAME: Final = "revoked"
_LINE: Final = re.compile(rb"[0-9a-f]{64}")
_AT_ONCE: Final = 500


def note(session: AnySession, digest: str) -> None:
    """Have the journal say, before the caller's transaction is committed, that the key is revoked."""
    before_commit(session, _write, digest)


def _write(session: AnySession, digests: list[str]) -> None:
    path = journal_path(session)
    if path is None:
        return
    try:
        start, end = _append(path, "".join(f"{digest}\n" for digest in digests).encode())
    except OSError as error:
        # A key that was compromised must die all the same; `flask doctor` tells of the file.
        _LOG.exception("the journal of revoked keys cannot be written", exc_info=error)
        return
    if _position(session) == start:  # or what stands before it has yet to be followed
        _remember(session, end)


def _append(path: Path, lines: bytes) -> tuple[int, int]:
    """Add `lines` at the end and bring them to disk; return where the file ended before, and where it ends now."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a write was cut off by a crash
            lines = b"\n" + lines
        os.write(descriptor, lines)
        os.fsync(descriptor)
        if not size:
            _sync_folder(path.parent)
        return size, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_behind(session: AnySession) -> bool:
    """Tell whether the journal says more than this database has followed."""
    path = journal_path(session)
    return path is not None and path.exists() and path.stat().st_size > _position(session)


def to_follow(session: AnySession) -> list[str]:
    """Return the ids of keys that the journal calls revoked, and this database does not: it is older than the file."""
    path, position = journal_path(session), _position(session)
    if path is None or not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, position - 65))  # a position within a line is none of ours; begin with a whole one
        digests = sorted({line.strip().decode() for line in file if _LINE.fullmatch(line.strip())})
    found: list[str] = []
    for start in range(0, len(digests), _AT_ONCE):
        some = ApiKey.digest.in_(digests[start : start + _AT_ONCE])
        found += session.scalars(select(ApiKey.id).where(some, ApiKey.stored_state != State.REVOKED))
    return found


def followed(session: AnySession) -> None:
    """Note that everything that the journal holds now has been followed."""
    path = journal_path(session)
    if path is not None and path.exists():
        _remember(session, path.stat().st_size)


def _position(session: AnySession) -> int:
    known = session.get(JournalPosition, _NAME, populate_existing=True)
    return known.position if known is not None else 0


def _remember(session: AnySession, position: int) -> None:
    known = session.get(JournalPosition, _NAME, with_for_update=True, populate_existing=True)
    if known is None:
        session.add(JournalPosition(name=_NAME, position=position))
    else:
        known.position = max(known.position, position)
