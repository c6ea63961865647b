"""The journal of revoked keys: what makes a deletion outlive the restoring of an old backup.

A file beside the database: a line that names it, then one digest a line, only ever added to, and on disk before a
deletion is committed. The database remembers up to where it has followed. After an old copy was put in its place it
remembers less than the file holds, and what the rest tells of is revoked again (`follow_journal` in
`lifecycle/delete.py`). A digest opens nothing, so the file is no secret. A person who can write to it can revoke keys,
as one who can write to the database can.
"""

import logging
import os
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, String, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.batching import BATCH, batches
from mushu.server.db import AnySession, Base, before_commit, insert_into, journal_path
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State

_LOG: Final = logging.getLogger(__name__)
#: Its first line, so that no position in another journal is taken for one in this.
_HEAD: Final = re.compile(rb"#([0-9a-f]{16})\n")
_HEAD_LENGTH: Final = 18
_LINE: Final = re.compile(rb"[0-9a-f]{64}")


class JournalPosition(Base):
    """Up to which byte this database has followed a journal that is beside it."""

    __tablename__ = "journal_positions"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


def note(session: AnySession, digest: str) -> None:
    """Have the journal say, before the caller's transaction is committed, that the key is revoked."""
    before_commit(session, _write, digest)


def _write(session: AnySession, digests: list[str]) -> None:
    path = journal_path(session)
    if path is None:
        return
    try:
        if not path.exists() or not path.stat().st_size:
            _append(path, b"")
        hold(session)  # before others see that the file has grown: they would wait for the keys, and we for them
        start, end = _append(path, "".join(f"{digest}\n" for digest in digests).encode())
    except OSError as error:
        # A key that was compromised must die all the same; `flask doctor` tells of the file.
        _LOG.exception("the journal of revoked keys cannot be written", exc_info=error)
        return
    if max(_position(session, path), _HEAD_LENGTH) == start:  # or what stands before it has yet to be followed
        _remember(session, path, end)


def _append(path: Path, lines: bytes) -> tuple[int, int]:
    """Add `lines` at the end and bring them to disk; return where the file ended before, and where it ends now."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            lines = f"#{secrets.token_hex(8)}\n".encode() + lines
        elif os.pread(descriptor, 1, size - 1) != b"\n":  # a write was cut off by a crash
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
    return path is not None and path.exists() and path.stat().st_size > _position(session, path)


def hold(session: AnySession) -> None:
    """Have others who want to follow the journal wait until this transaction ends."""
    path = journal_path(session)
    if path is not None and path.exists():
        name = _name(path)
        session.execute(insert_into(session, JournalPosition).values(name=name, position=0).on_conflict_do_nothing())
        session.get(JournalPosition, name, with_for_update=True, populate_existing=True)


def to_follow(session: AnySession) -> tuple[list[str], int]:
    """Return the ids of keys that the journal calls revoked, and this database does not: it is older than the file.

    They are some hundred at most, the oldest first; the number says up to where the journal was read for them.
    """
    path = journal_path(session)
    if path is None or not path.exists():
        return [], 0
    position = _position(session, path)
    with path.open("rb") as file:
        file.seek(max(0, position - 65))  # a position within a line is none of ours; begin with a whole one
        found = set[tuple[datetime, str]]()
        for lines in batches(file):
            digests = [line.strip().decode() for line in lines if _LINE.fullmatch(line.strip())]
            alive = select(ApiKey).where(ApiKey.digest.in_(digests), ApiKey.stored_state != State.REVOKED)
            found |= {(key.created_at, key.id) for key in session.scalars(alive)}
            if len(found) >= BATCH:
                break
        return [key_id for _, key_id in sorted(found)], file.tell()


def followed(session: AnySession, position: int) -> None:
    """Note that what the journal holds up to there has been followed."""
    path = journal_path(session)
    if path is not None and path.exists():
        _remember(session, path, position)


def _name(path: Path) -> str:
    """Return what this journal is called in the database: each machine has one of its own, and a lost one is new."""
    with path.open("rb") as file:
        head = _HEAD.fullmatch(file.readline(64))
    return f"revoked {head[1].decode()}" if head else "revoked"


def _position(session: AnySession, path: Path) -> int:
    known = session.get(JournalPosition, _name(path), populate_existing=True)
    return known.position if known is not None else 0


def _remember(session: AnySession, path: Path, position: int) -> None:
    known = session.get(JournalPosition, _name(path), with_for_update=True, populate_existing=True)
    if known is None:
        session.add(JournalPosition(name=_name(path), position=position))
    else:
        known.position = max(known.position, position)
