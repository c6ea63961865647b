"""What every storage keeps to: the same promises for a folder and for a bucket, and some of each alone."""

import builtins
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError

from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.errors import ConfigurationError, Invalid, MediaWrongState, StorageUnavailable
from mushu.server.resources.media.bucket import BucketStorage
from mushu.server.resources.media.folder import FolderStorage
from mushu.server.resources.media.storage import ORIGINAL, ObjectKey, Presentation, Storage, Upload
from mushu.server.resources.media.uploading import open_storage
from tests.conftest import TurnableClock
from tests.server.conftest import quiet_app
from tests.server.resources.media.studio import BUCKET, KINDS, client, settings_for

KEY = ObjectKey("live", "0" * 32 + "-a.txt")
LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    return settings_for(request.param, settings, f"{tmp_path.parent.name}-{tmp_path.name}")


@pytest.fixture
def storage(config: Settings) -> Storage:
    return open_storage(config)


def bring(storage: Storage, place: ObjectKey = KEY, content: bytes = b"Hello") -> Upload:
    """Upload, in whichever way the storage wants."""
    url = storage.upload_url(place, "text/plain", len(content), 60)
    if url is None:
        storage.receive(place, len(content), iter([content]))
    else:
        assert httpx.put(url, content=content, headers={"Content-Type": "text/plain"}).status_code == 200
    found = storage.find_upload(place)
    assert found is not None
    return found


def content_of(storage: Storage, place: ObjectKey = KEY, name: str = ORIGINAL) -> bytes | None:
    opened = storage.open(place, name)
    if opened is None:
        return None
    with opened.file as file:
        content = file.read()
    assert len(content) == opened.size
    return content


class TestEveryStorage:
    def test_has_nothing_of_what_never_came(self, storage: Storage) -> None:
        assert storage.find_upload(KEY) is None
        assert storage.open(KEY) is None
        assert not storage.has(KEY)
        assert storage.open_upload(KEY, Upload(5, None, '"x"'), 5) is None
        assert not storage.settle(KEY, Upload(5, None, '"x"'))
        storage.remove(KEY)
        assert storage.sweep("live", LATER) == 0

    def test_serves_only_what_was_settled(self, storage: Storage) -> None:
        upload = bring(storage)
        assert upload.size == 5
        assert not storage.has(KEY)
        assert storage.settle(KEY, upload)
        assert content_of(storage) == b"Hello"
        assert storage.find_upload(KEY) is None
        assert not storage.settle(KEY, upload), "a second time there is nothing to settle"
        assert content_of(storage) == b"Hello"

    def test_an_upload_after_it_was_settled_changes_nothing_of_it(self, storage: Storage) -> None:
        storage.settle(KEY, bring(storage))
        bring(storage, content=b"Other")
        assert content_of(storage) == b"Hello"

    def test_keeps_variants_beside_it_and_removes_all_of_it(self, storage: Storage) -> None:
        storage.settle(KEY, bring(storage))
        storage.write(KEY, "small", io.BytesIO(b"small picture"))
        assert content_of(storage, name="small") == b"small picture"
        storage.write(KEY, "small", io.BytesIO(b"again"))
        assert content_of(storage, name="small") == b"again"
        bring(storage, content=b"late")
        storage.remove(KEY)
        assert [content_of(storage, name=name) for name in (ORIGINAL, "small")] == [None, None]
        assert storage.find_upload(KEY) is None
        storage.remove(KEY)

    def test_keeps_live_and_test_and_every_key_apart(self, storage: Storage) -> None:
        places = [KEY, ObjectKey("test", KEY.key), ObjectKey("live", "0" * 31 + "1-a.txt")]
        for number, place in enumerate(places):
            storage.settle(place, bring(storage, place, b"%d" % number))
        storage.remove(places[0])
        assert [content_of(storage, place) for place in places] == [None, b"1", b"2"]

    def test_shows_the_beginning_of_what_arrived(self, storage: Storage) -> None:
        upload = bring(storage, content=b"x" * 10_000)
        opened = storage.open_upload(KEY, upload, 100)
        assert opened is not None
        with opened.file as file:
            assert file.read(100) == b"x" * 100
            assert file.fileno() > 0

    def test_sweeps_what_arrived_long_ago_and_was_never_settled(self, storage: Storage) -> None:
        bring(storage)
        storage.settle(ObjectKey("live", "k"), bring(storage, ObjectKey("live", "k")))
        assert storage.sweep("live", datetime.now(UTC) - timedelta(days=1)) == 0
        assert storage.sweep("test", LATER) == 0
        assert storage.sweep("live", LATER) == 1
        assert storage.find_upload(KEY) is None
        assert storage.has(ObjectKey("live", "k"))

    def test_says_where_it_is(self, storage: Storage, config: Settings) -> None:
        bring(storage)
        assert (config.media_s3_bucket or str(config.media_path)) in storage.check()


class TestAFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> FolderStorage:
        return FolderStorage(tmp_path / "media")

    @pytest.mark.parametrize("chunks", [[b"Hell"], [b"Hell", b"o!"], [], [b"", b"Hello", b"x" * 10**6]])
    def test_keeps_nothing_of_another_size(self, folder: FolderStorage, tmp_path: Path, chunks: list[bytes]) -> None:
        with pytest.raises(Invalid):
            folder.receive(KEY, 5, iter(chunks))
        assert [path for path in (tmp_path / "media").rglob("*") if path.is_file()] == []

    def test_takes_one_upload_and_no_second(self, folder: FolderStorage) -> None:
        folder.receive(KEY, 5, iter([b"Hello"]))
        with pytest.raises(MediaWrongState):
            folder.receive(KEY, 5, iter([b"Other"]))

    @pytest.mark.parametrize("call", ["write", "fsync", "link"])
    def test_a_disk_that_refuses_leaves_nothing_and_is_no_crash(
        self, folder: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        folder.receive(ObjectKey("live", "k"), 1, iter([b"x"]))

        def full(*_: object, **__: object) -> Any:
            raise OSError(28, "No space left on device")

        def chunks() -> Iterator[bytes]:
            yield b"Hello"
            if call == "write":
                full()

        if call != "write":
            monkeypatch.setattr(os, call, full)
        with pytest.raises(StorageUnavailable, match="No space left"):
            folder.receive(KEY, 5, chunks())
        monkeypatch.undo()
        assert [path.name for path in (tmp_path / "media").rglob("*") if path.is_file()] == ["k"]

    def test_a_variant_of_what_was_removed_meanwhile_is_not_kept(self, folder: FolderStorage, tmp_path: Path) -> None:
        folder.write(KEY, "small", io.BytesIO(b"x"))
        assert [path for path in (tmp_path / "media").rglob("*") if path.is_file()] == []

    def test_what_a_killed_process_left_is_swept(self, folder: FolderStorage, tmp_path: Path) -> None:
        folder.receive(KEY, 5, iter([b"Hello"]))
        part = tmp_path / "media" / "live" / "incoming" / f"{KEY.key}.0123.part"
        part.write_bytes(b"half")
        os.utime(part, (0, 0))
        assert folder.sweep("live", datetime.now(UTC) - timedelta(days=1)) == 1
        assert not part.exists()
        assert folder.find_upload(KEY) is not None

    def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_nothing(self, folder: FolderStorage, tmp_path: Path) -> None:
        folder.settle(KEY, self._brought(folder))
        kept = tmp_path / "media" / "live" / "kept" / KEY.key[:2] / KEY.key
        os.mkfifo(kept / "small")
        (kept / "medium").mkdir()
        assert folder.open(KEY, "small") is None
        assert folder.open(KEY, "medium") is None

    def test_one_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            FolderStorage(tmp_path / "file" / "media").check()
        with pytest.raises(StorageUnavailable):
            FolderStorage(tmp_path / "file").receive(KEY, 1, iter([b"x"]))

    def _brought(self, folder: FolderStorage) -> Upload:
        folder.receive(KEY, 5, iter([b"Hello"]))
        found = folder.find_upload(KEY)
        assert found is not None
        return found


class TestABucket:
    @pytest.fixture
    def config(self, settings: Settings, tmp_path: Path) -> Settings:
        return settings_for("bucket", settings, f"{tmp_path.parent.name}-{tmp_path.name}")

    @pytest.fixture
    def bucket(self, config: Settings) -> BucketStorage:
        return BucketStorage(config)

    def test_an_upload_address_is_bound_to_size_type_and_an_hour(self, bucket: BucketStorage) -> None:
        url = bucket.upload_url(KEY, "image/png", 5, 3600)
        query = parse_qs(urlsplit(str(url)).query)
        assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
        assert query["X-Amz-Expires"] == ["3600"]
        assert not {name for name in query if "checksum" in name.lower()}
        assert f"/{BUCKET}/" in str(url)

    def test_a_download_address_says_how_it_is_served(self, bucket: BucketStorage) -> None:
        bucket.settle(KEY, bring(bucket))
        url = bucket.download_url(KEY, Presentation("application/octet-stream", 'attachment; filename="a"'), 60)
        answer = httpx.get(str(url))
        assert answer.content == b"Hello"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="a"'

    def test_takes_no_upload_through_the_server(self, bucket: BucketStorage) -> None:
        with pytest.raises(Exception, match="new address"):
            bucket.receive(KEY, 5, iter([b"Hello"]))

    def test_what_was_replaced_is_not_looked_at_as_if_it_were_the_same(self, bucket: BucketStorage) -> None:
        upload = bring(bucket)
        bring(bucket, content=b"Other")
        assert bucket.open_upload(KEY, upload, 5) is None

    def test_the_store_is_told_to_copy_only_what_was_looked_at(self, bucket: BucketStorage) -> None:
        """The store of these tests does not do as it is told; Amazon's and MinIO do."""
        told: list[str] = []

        def listen(params: Any, **_: object) -> None:
            told.append(params["headers"]["x-amz-copy-source-if-match"])

        bucket._client.meta.events.register("before-call.s3.CopyObject", listen)
        upload = bring(bucket)
        assert bucket.settle(KEY, upload)
        assert told == [upload.version]

    def test_what_the_store_refuses_to_copy_is_not_settled(
        self, bucket: BucketStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(**_: object) -> None:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "CopyObject")

        upload = bring(bucket)
        monkeypatch.setattr(bucket._client, "copy_object", refused)
        assert not bucket.settle(KEY, upload)
        assert bucket.find_upload(KEY) == upload

    def test_all_its_objects_stand_under_the_prefix(self, bucket: BucketStorage, config: Settings) -> None:
        bucket.settle(KEY, bring(bucket))
        found = client(config).list_objects_v2(Bucket=BUCKET, Prefix=config.media_s3_prefix)["Contents"]
        assert [one["Key"] for one in found] == [f"{config.media_s3_prefix}live/kept/{KEY.key}/original"]

    def test_one_that_is_not_there_is_told(self, config: Settings) -> None:
        missing = BucketStorage(replace(config, media_s3_bucket="missing"))
        with pytest.raises(StorageUnavailable, match="no bucket 'missing'"):
            missing.check()
        with pytest.raises(StorageUnavailable):
            missing.sweep("live", LATER)

    def test_a_store_that_does_not_answer_is_unavailable(
        self, config: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = BucketStorage(replace(config, media_s3_endpoint="http://127.0.0.1:1"))
        for act in (away.find_upload, away.has, away.open, away.remove):
            with pytest.raises(StorageUnavailable):
                act(KEY)

    def test_no_log_shows_a_secret_or_a_signed_address(
        self, bucket: BucketStorage, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            url = str(bucket.upload_url(KEY, "text/plain", 5, 60))
            bucket.settle(KEY, bring(bucket))
        assert "testing-secret" not in caplog.text
        theirs = ("httpx", "httpcore", "werkzeug")  # of the client and of the store, which stand for others here
        mine = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith(theirs))
        assert parse_qs(urlsplit(url).query)["X-Amz-Signature"][0] not in mine

    def test_without_its_library_the_server_does_not_start_and_says_what_to_install(
        self, config: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load = builtins.__import__

        def missing(name: str, *more: Any) -> Any:
            if name.partition(".")[0] in ("boto3", "botocore"):
                raise ImportError(name)
            return load(name, *more)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(ConfigurationError, match=r"boto3>=1"):
            quiet_app(Core(config, TurnableClock()))

    def test_settings_that_make_no_client_are_told_as_such(self, config: Settings) -> None:
        with pytest.raises(ConfigurationError):
            BucketStorage(replace(config, media_s3_endpoint="http://"))
