"""What housekeeping does for media: give up uploads that did not arrive, and remove bytes that are no longer served.

Bytes are removed twice, an hour apart. The second time removes what arrived while the item was deleted, and what a
process settled that was then killed. After it the row of a deleted item is deleted, too.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select, update

from mushu.environment import Environment
from mushu.server.audit.service import SYSTEM
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.db import AnySession, reading, writing
from mushu.server.environments import within
from mushu.server.errors import StorageUnavailable
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.service import mark_failed
from mushu.server.resources.media.storage import Storage
from mushu.server.resources.media.uploading import open_storage

_LOG: Final = logging.getLogger(__name__)
#: An upload that began before its address ended may go on for as long, and be confirmed.
GRACE: Final = timedelta(hours=1)
SECOND_LOOK: Final = timedelta(hours=1)
#: How long one that failed is shown.
FAILED_KEPT: Final = timedelta(days=30)
#: What arrived so long ago and was not settled belongs to no item.
STALE: Final = timedelta(days=1)
#: Items at once, so that one round ends.
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one round did."""

    given_up: int = 0
    removed: int = 0
    swept: int = 0

    def __bool__(self) -> bool:
        return bool(self.given_up or self.removed or self.swept)


def clean_media(session: AnySession, clock: Clock, settings: Settings) -> None:
    """Clean up in both environments; owns its transactions.

    Raises:
        ConfigurationError, StorageUnavailable: the storage cannot be used; what was not done is done the next time.
    """
    cleaned = clean_storage(session, clock, open_storage(settings))
    if cleaned:
        _LOG.info("media cleaned", extra=asdict(cleaned))


def clean_storage(session: AnySession, clock: Clock, storage: Storage) -> Cleaned:
    """Clean up in both environments, and return what was done; owns its transactions.

    Raises:
        StorageUnavailable: the storage did not answer; what was not done is done the next time.
    """
    given_up = removed = swept = 0
    for environment in Environment:
        with within(session, environment):
            given_up += _give_up(session, clock)
            removed += _remove(session, clock, storage)
        swept += storage.sweep(environment, clock() - STALE)
    return Cleaned(given_up, removed, swept)


def _give_up(session: AnySession, clock: Clock) -> int:
    late = select(MediaItem).where(
        MediaItem.status.in_((Status.PENDING, Status.UPLOADED)),
        MediaItem.upload_ends_at < clock() - GRACE,
        MediaItem.deleted_at.is_(None),
    )
    with reading(session):
        items = session.scalars(late.limit(_MOST)).all()
    for item in items:
        with writing(session):
            mark_failed(session, clock, SYSTEM, item, "It was not uploaded and confirmed in time.")
    return len(items)


def _remove(session: AnySession, clock: Clock, storage: Storage) -> int:
    due = select(MediaItem).where(MediaItem.removal_at <= clock()).order_by(MediaItem.removal_at).limit(_MOST)
    with reading(session):
        items = session.scalars(due.execution_options(populate_existing=True)).all()
    refused: StorageUnavailable | None = None
    for item in items:
        try:
            storage.remove(item.object_key)
        except StorageUnavailable as error:  # one that cannot be removed must not keep the others
            refused = error
            continue
        with writing(session):
            _note_removal(session, clock, item)
    if refused is not None:
        raise refused
    return len(items)


def _note_removal(session: AnySession, clock: Clock, item: MediaItem) -> None:
    since = item.deleted_at or item.updated_at
    kept = SECOND_LOOK if item.deleted_at is not None else FAILED_KEPT
    if since + kept <= clock():
        # Only if it is as it was read: a failed one that is deleted now begins its second hour.
        session.execute(delete(MediaItem).where(MediaItem.id == item.id, MediaItem.updated_at == item.updated_at))
        return
    later = update(MediaItem).where(MediaItem.id == item.id, MediaItem.updated_at == item.updated_at)
    session.execute(later.values(removal_at=since + kept).execution_options(synchronize_session=False))
