"""Everything that media need besides rows, as the settings say it."""

from dataclasses import dataclass

from mushu.server.config import Settings
from mushu.server.instance import secret_key
from mushu.server.resources.media.folder import FolderStorage
from mushu.server.resources.media.links import Signer
from mushu.server.resources.media.pictures import Pictures
from mushu.server.resources.media.storage import Storage


@dataclass(frozen=True)
class Media:
    """One for each process."""

    storage: Storage
    signer: Signer
    pictures: Pictures


def open_media(settings: Settings) -> Media:
    """Return the media of this server.

    Raises:
        ConfigurationError: the storage that is asked for cannot be used here.
    """
    return Media(
        open_storage(settings), Signer(secret_key(settings.instance_path)), Pictures(settings.media_max_pixels)
    )


def open_storage(settings: Settings) -> Storage:
    if not settings.media_s3_bucket:
        return FolderStorage(settings.media_path)
    from mushu.server.resources.media.bucket import BucketStorage  # a folder needs no boto3

    return BucketStorage(settings)
