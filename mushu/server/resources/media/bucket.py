"""Media in a bucket of S3, or of a store that speaks its protocol. Clients upload to it and download from it directly.

PREFIX live/incoming/KEY           arrived; a signed address reaches only this, until it expires
PREFIX live/kept/KEY/original      copied there by the store after the inspection, if it is unchanged
PREFIX test/…                      the same
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, Final, cast

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError, LinkNotValid, StorageUnavailable
from mushu.server.resources.media.pictures import Variant
from mushu.server.resources.media.storage import CHUNK, ORIGINAL, ObjectKey, Opened, Presentation, Upload

_LOG: Final = logging.getLogger(__name__)
_TIMEOUTS: Final = {"connect_timeout": 5, "read_timeout": 60}
_GONE: Final = frozenset({"404", "NoSuchKey", "NotFound", "412", "PreconditionFailed", "416", "InvalidRange"})


class BucketStorage:
    """Keeps media in the bucket that the settings name.

    Raises:
        ConfigurationError: the library is not installed, or the settings make no client.
    """

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.media_s3_bucket
        self._prefix = settings.media_s3_prefix
        self._client = _client(settings)

    def upload_url(self, object_key: ObjectKey, content_type: str, size: int, seconds: int) -> str | None:
        named = self._incoming(object_key) | {"ContentType": content_type, "ContentLength": size}
        return self._signed("put_object", named, seconds)

    def download_url(self, object_key: ObjectKey, presentation: Presentation, seconds: int) -> str | None:
        shown = {
            "ResponseContentType": presentation.content_type,
            "ResponseContentDisposition": presentation.disposition,
        }
        return self._signed("get_object", self._kept(object_key) | shown, seconds)

    def receive(self, object_key: ObjectKey, size: int, chunks: Iterator[bytes]) -> None:  # noqa: ARG002
        raise LinkNotValid("Uploads go to the bucket. Ask for a new address.")

    def find_upload(self, object_key: ObjectKey) -> Upload | None:
        with _asking() as ask:
            found = ask(self._client.head_object, **self._incoming(object_key))
        if found is None:
            return None
        return Upload(found["ContentLength"], found.get("ContentType", ""), found["ETag"])

    def open_upload(self, object_key: ObjectKey, upload: Upload, most: int) -> Opened | None:
        part = {"Range": f"bytes=0-{most - 1}"} if upload.size > most else {}
        return self._fetched(self._incoming(object_key) | part | {"IfMatch": upload.version})

    def settle(self, object_key: ObjectKey, upload: Upload) -> bool:
        source = self._incoming(object_key)
        with _asking() as ask:
            copied = ask(
                self._client.copy_object, **self._kept(object_key), CopySource=source, CopySourceIfMatch=upload.version
            )
            if copied is not None:
                ask(self._client.delete_object, **source)
        return copied is not None

    def open(self, object_key: ObjectKey, name: str = ORIGINAL) -> Opened | None:
        return self._fetched(self._kept(object_key, name))

    def has(self, object_key: ObjectKey) -> bool:
        with _asking() as ask:
            return ask(self._client.head_object, **self._kept(object_key)) is not None

    def write(self, object_key: ObjectKey, name: str, content: BinaryIO) -> None:
        with _asking() as ask:
            ask(self._client.put_object, **self._kept(object_key, name), Body=content)

    def remove(self, object_key: ObjectKey) -> None:
        named = [self._incoming(object_key), *(self._kept(object_key, name) for name in Variant)]
        objects = [{"Key": one["Key"]} for one in named]
        with _asking() as ask:
            answer = ask(self._client.delete_objects, Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        if answer is None or answer.get("Errors"):
            raise StorageUnavailable("The media storage did not remove what was to be removed.")

    def sweep(self, environment: str, before: datetime) -> int:
        swept = 0
        with _asking() as ask:
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._prefix}{environment}/incoming/"):
                for found in page.get("Contents", []):
                    if found["LastModified"] < before:
                        ask(self._client.delete_object, Bucket=self._bucket, Key=found["Key"])
                        swept += 1
        return swept

    def check(self) -> str:
        with _asking() as ask:
            if ask(self._client.head_bucket, Bucket=self._bucket) is None:
                raise StorageUnavailable(f"There is no bucket {self._bucket!r}, or these credentials may not see it.")
        return f"in the bucket {self._bucket}"

    def _incoming(self, object_key: ObjectKey) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{object_key.environment}/incoming/{object_key.key}"}

    def _kept(self, object_key: ObjectKey, name: str = ORIGINAL) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{object_key.environment}/kept/{object_key.key}/{name}"}

    def _signed(self, operation: str, named: dict[str, Any], seconds: int) -> str:
        with _asking():
            return str(self._client.generate_presigned_url(operation, Params=named, ExpiresIn=seconds))

    def _fetched(self, named: dict[str, Any]) -> Opened | None:
        """Return an object as a file without a name, which may be read in any order and costs no memory."""
        with _asking() as ask:
            answer = ask(self._client.get_object, **named)
            if answer is None:
                return None
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
            try:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    file.write(chunk)
            except BaseException:
                file.close()
                raise
        size = file.tell()
        file.seek(0)
        return Opened(cast(BinaryIO, file), size)


def _client(settings: Settings) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ConfigurationError(
            "MUSHU_MEDIA_S3_BUCKET is set, and the library for it is not installed: pip install 'boto3>=1.38'."
        ) from None
    for name in ("boto3", "botocore", "s3transfer", "urllib3"):
        logging.getLogger(name).setLevel(logging.INFO)  # below, they print signed headers and addresses
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": settings.media_s3_addressing},
        retries={"total_max_attempts": 3, "mode": "standard"},
        # Otherwise a signed address would ask for a checksum that no browser and no fetch() sends.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **_TIMEOUTS,
    )
    try:
        return boto3.session.Session().client(
            "s3",
            region_name=settings.media_s3_region or None,
            endpoint_url=settings.media_s3_endpoint or None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"MUSHU_MEDIA_S3_… make no client of S3: {error}") from None


class _Asker:
    def __call__(self, operation: Any, **arguments: Any) -> Any:
        """Return what the store answers, or None where it says that there is no such object, or no longer that one."""
        from botocore.exceptions import ClientError

        try:
            return operation(**arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                return None
            raise


@contextmanager
def _asking() -> Iterator[_Asker]:
    """Turn every error of the store into StorageUnavailable; what the store said is logged."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield _Asker()
    except (ClientError, BotoCoreError, HTTPError) as error:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        _LOG.warning("the bucket refused", extra={"cause": type(error).__name__, "detail": code})
        raise StorageUnavailable("The media storage does not answer right now. Try again shortly.") from None
