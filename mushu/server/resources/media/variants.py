"""The pictures behind `/t/…`: made when they are first asked for, and kept beside the original."""

from mushu.server.db import AnySession, reading
from mushu.server.errors import MediaNotFound
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.opening import Media
from mushu.server.resources.media.pictures import Variant, is_picture
from mushu.server.resources.media.service import find_media, find_media_by_key
from mushu.server.resources.media.storage import Opened
from mushu.server.resources.media.uploading import place_of


def get_picture(session: AnySession, key: str) -> MediaItem:
    """Return the picture that is served under this key.

    Raises:
        MediaNotFound: there is none, or it is not ready; the two cannot be told apart.
    """
    with reading(session):
        item = find_media_by_key(session, key)
    if item is None or item.status != Status.READY or not is_picture(item.content_type):
        raise _no_picture()
    return item


def open_variant(session: AnySession, media: Media, item: MediaItem, variant: Variant) -> Opened:
    """Return the picture in this size; whoever asks first has it made, and those who ask meanwhile wait for that.

    Raises:
        MediaNotFound: it was deleted meanwhile, or cannot be made.
        StorageUnavailable: too many pictures are being made.
    """
    found = media.storage.open(place_of(item), variant)
    if found is None and variant is not Variant.ORIGINAL:
        with media.pictures.turn():
            found = media.storage.open(place_of(item), variant) or _made(session, media, item, variant)
    if found is None:
        raise _no_picture()
    return found


def _made(session: AnySession, media: Media, item: MediaItem, variant: Variant) -> Opened | None:
    original = media.storage.open(place_of(item))
    if original is None:
        return None
    with original.file as file:
        made = media.pictures.make(file, item.content_type, variant)
    if made is None:
        return None
    with made:
        media.storage.write(place_of(item), variant, made)
    with reading(session):
        gone = find_media(session, item.id) is None
    if gone:
        media.storage.remove(place_of(item))  # or what was just made would outlive it
        return None
    return media.storage.open(place_of(item), variant)


def _no_picture() -> MediaNotFound:
    return MediaNotFound("There is no picture at this address.")
