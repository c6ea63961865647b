"""An upload from its first byte to ready, and its end: the storage, the signer and the decoder.

    receive      the bytes arrive whole, or not at all; then the row says so
    confirm      inspect them, settle them, then serve them
    clean        give up what did not arrive, and remove bytes that are no longer served

Each step on the storage stands between two transactions and inside none. Killed anywhere, what is left is an item that
can be confirmed again, or bytes that housekeeping removes.

Bytes are removed twice, an hour apart. The second time removes what arrived while the item was deleted, and what a
process settled that was then killed. After it the row of a deleted item is deleted, too.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select, update

from mushu.environment import Environment
from mushu.server.audit import SYSTEM, Actor
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.db import AnySession, reading, writing
from mushu.server.environments import within
from mushu.server.errors import Invalid, MediaNotFound, MediaRejected, MediaWrongState, StorageUnavailable
from mushu.server.instance import secret_key
from mushu.server.resources.media.content_types import HEAD, is_picture, mismatch
from mushu.server.resources.media.folder import FolderStorage
from mushu.server.resources.media.links import Signer
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.pictures import Pictures
from mushu.server.resources.media.service import (
    delete_media,
    find_media,
    get_media,
    mark_failed,
    mark_ready,
    mark_uploaded,
)
from mushu.server.resources.media.storage import Storage, Upload

_LOG: Final = logging.getLogger(__name__)
_CHANGED: Final = "What was uploaded changed while it was looked at. Confirm again."
#: An upload that began before its address ended may go on for as long, and be confirmed.
GRACE: Final = timedelta(hours=1)
SECOND_LOOK: Final = timedelta(hours=1)
#: How long one that failed is shown.
FAILED_KEPT: Final = timedelta(days=30)
#: What arrived so long ago and was not settled belongs to no item.
STALE: Final = timedelta(days=1)
#: Items at once, so that one round ends.
_MOST: Final = 500


@dataclass(frozen=True)
class MediaBackend:
    """What media need besides rows, as the settings say it; one for each process."""

    storage: Storage
    signer: Signer
    pictures: Pictures


def open_media(settings: Settings) -> MediaBackend:
    """Return the media of this server.

    Raises:
        ConfigurationError: the storage that is asked for cannot be used here.
    """
    return MediaBackend(
        open_storage(settings), Signer(secret_key(settings.instance_path)), Pictures(settings.media_max_pixels)
    )


def open_storage(settings: Settings) -> Storage:
    if not settings.media_s3_bucket:
        return FolderStorage(settings.media_path)
    from mushu.server.resources.media.bucket import BucketStorage  # a folder needs no boto3

    return BucketStorage(settings)


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes uploads and looks at them; owns its transactions on `session`."""

    session: AnySession
    clock: Clock
    media: MediaBackend

    def receive(self, item: MediaItem, content_type: str, length: int | None, chunks: Iterator[bytes]) -> MediaItem:
        """Take the bytes of an item whose address was verified.

        Args:
            content_type: without parameters; empty where none was sent.
            length: what the request says of its own length, if anything.

        Raises:
            Invalid: type or size are not those that were announced.
            MediaWrongState: it does not wait for an upload.
            MediaNotFound: it was deleted meanwhile.
            StorageUnavailable: it cannot be kept.
        """
        if item.status != Status.PENDING:
            raise MediaWrongState(f"This does not wait for an upload: it is {item.status}.")
        if content_type.lower() != item.content_type:
            raise Invalid(f"Send it with `Content-Type: {item.content_type}`, as announced.", field="Content-Type")
        if length is not None and length != item.size_bytes:
            raise Invalid(f"{item.size_bytes} bytes were announced, and {length} are sent.", field="size_bytes")
        self.media.storage.receive(item.object_key, item.size_bytes, chunks)
        with writing(self.session):
            taken = mark_uploaded(self.session, self.clock, item)
        if not taken:  # deleted or given up during the upload
            self._remove(item)
            raise MediaWrongState("This was deleted, or its time was over, while it was uploaded.")
        return self._fresh(item.id)

    def confirm(self, actor: Actor, media_id: str) -> MediaItem:
        """Inspect what was uploaded, and serve it from now on. Asked again, answer the same.

        Raises:
            MediaWrongState: nothing is uploaded yet.
            MediaRejected: it is not what was announced; it is removed.
            MediaNotFound: it is not there, or was deleted meanwhile.
            StorageUnavailable: it cannot be looked at now.
        """
        item = self._fresh(media_id)
        if item.status == Status.READY:
            return item
        if item.status == Status.FAILED:
            raise MediaRejected(item.failure or "This has failed.")
        upload = self.media.storage.find_upload(item.object_key)
        if upload is not None:
            why = self._fault(item, upload)
            if why is not None:
                self._reject(actor, item, why)
            if not self.media.storage.settle(item.object_key, upload) and not self.media.storage.has(item.object_key):
                raise MediaWrongState(_CHANGED)
        elif not self.media.storage.has(item.object_key):  # settled it may be: by another request, or before a crash
            raise MediaWrongState("Nothing is uploaded yet. Send the file to its upload_url first.")
        with writing(self.session):
            mark_ready(self.session, self.clock, actor, item)
        return self._settled(item)

    def delete(self, actor: Actor, media_id: str) -> None:
        """Delete an item: it is gone with the commit; its bytes go now or, if that fails, with housekeeping.

        Raises:
            MediaNotFound: it is not there.
        """
        with writing(self.session):
            item = get_media(self.session, media_id)
            delete_media(self.session, self.clock, actor, item)
        self._remove(item)

    def _fault(self, item: MediaItem, upload: Upload) -> str | None:
        """Return in what the upload is not what was announced, or None."""
        if upload.size != item.size_bytes:
            return f"{item.size_bytes} bytes were announced, and {upload.size} came."
        if upload.content_type is not None and upload.content_type.lower() != item.content_type:
            return f"{item.content_type} was announced, and something else was uploaded."
        picture = is_picture(item.content_type)
        opened = self.media.storage.open_upload(item.object_key, upload, upload.size if picture else HEAD)
        if opened is None:
            raise MediaWrongState(_CHANGED)
        with opened.file as file:
            why = mismatch(item.content_type, file.read(HEAD))
            if why is None and picture:
                why = self.media.pictures.refusal(file, item.content_type)
        return why

    def _reject(self, actor: Actor, item: MediaItem, why: str) -> None:
        with writing(self.session):
            failed = mark_failed(self.session, self.clock, actor, item, why)
        if failed:
            self._remove(item)
        raise MediaRejected(why)

    def _settled(self, item: MediaItem) -> MediaItem:
        """Return the item as it is after it was settled; where it was given up meanwhile, nothing of it stays."""
        with reading(self.session):
            found = find_media(self.session, item.id)
        if found is None:
            self._remove(item)
            raise MediaNotFound("This was deleted while it was confirmed.")
        if found.status != Status.READY:
            self._remove(item)
            raise MediaRejected(found.failure or "This has failed.")
        return found

    def _fresh(self, media_id: str) -> MediaItem:
        with reading(self.session):
            return get_media(self.session, media_id)

    def _remove(self, item: MediaItem) -> None:
        try:
            self.media.storage.remove(item.object_key)
        except StorageUnavailable as error:
            _LOG.warning("bytes were not removed", extra={"media_id": item.id, "detail": error.detail})


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
