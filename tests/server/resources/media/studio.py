"""A server with media in a folder or in a bucket, and somebody who uploads to it."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
from flask import Flask
from moto.server import ThreadedMotoServer
from PIL import Image
from werkzeug.test import TestResponse

from mushu.destination import Surroundings, open_destination
from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.db import reading
from mushu.server.environments import within
from mushu.server.resources.media.bucket import BucketStorage
from mushu.server.resources.media.models import MediaItem
from mushu.server.resources.media.service import get_media
from mushu.server.resources.media.storage import ObjectKey
from mushu.server.resources.media.uploading import MediaBackend, Uploads
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, quiet_app, settings_on
from tests.server.web.asking import SeparateClient, answer

BUCKET = "media"
KINDS = ("folder", "bucket")
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
TEXT = b"Hello, world. This is a text.\n"


@cache
def store() -> str:
    """Return the address of a store that speaks S3, started once and ended with the process."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def settings_for(kind: str, settings: Settings, prefix: str) -> Settings:
    """Return settings whose media lie in a folder of their own, or in a bucket, under a prefix of their own."""
    if kind == "folder":
        return settings
    for name, value in _CREDENTIALS.items():  # each time: what a test sets ends with it
        os.environ.setdefault(name, value)
    settings = replace(
        settings,
        media_s3_bucket=BUCKET,
        media_s3_endpoint=store(),
        media_s3_region="us-east-1",
        media_s3_addressing="path",
        media_s3_prefix=f"{prefix}/",
    )
    client(settings).create_bucket(Bucket=BUCKET)
    return settings


@cache
def client(settings: Settings) -> Any:
    return boto3.client("s3", endpoint_url=settings.media_s3_endpoint, region_name="us-east-1")


@dataclass
class Studio:
    """One organization with a live and a test key, and what it does with media over HTTP."""

    app: Flask
    clock: TurnableClock
    settings: Settings
    world: World
    http: SeparateClient
    media: MediaBackend

    def __post_init__(self) -> None:
        self.organization = self.world.org()
        self.org = self.organization.id
        self.keys = {
            environment: api_key(self.world.key(self.organization, environment=environment)[1])
            for environment in Environment
        }
        self.headers = self.keys[Environment.LIVE]

    def announce(self, content: bytes = TEXT, side: str = "", **changes: Any) -> dict[str, Any]:
        """Announce a file and return the answer."""
        return answer(self.try_to_announce(content, side, **changes))

    def try_to_announce(self, content: bytes = TEXT, side: str = "", **changes: Any) -> TestResponse:
        headers = changes.pop("headers", {})
        body = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(content)} | changes
        key = self.keys[Environment.TEST if side else Environment.LIVE]
        return self.http.post(f"{side}/media/upload-url", json=body, headers=key | headers)

    def put(self, url: str, content: bytes, content_type: str | None = "text/plain", **headers: str) -> int:
        """Upload to an address of ours or of the store, and return the status."""
        if url.startswith(self.settings.base_url):
            return self.put_here(url, content, content_type, **headers).status_code
        given = ({"Content-Type": content_type} if content_type is not None else {}) | headers
        return httpx.put(url, content=content, headers=given).status_code

    def put_here(
        self, url: str, content: bytes, content_type: str | None = "text/plain", **headers: str
    ) -> TestResponse:
        return self.http.put(path_of(url), data=content, content_type=content_type, headers=headers)

    def post(self, path: str, side: str = "") -> TestResponse:
        return self.http.post(side + path, headers=self.keys[Environment.TEST if side else Environment.LIVE])

    def get(self, path: str, side: str = "", **headers: str) -> TestResponse:
        key = self.keys[Environment.TEST if side else Environment.LIVE]
        return self.http.get(side + path, headers=key | headers)

    def delete(self, media_id: str, side: str = "") -> TestResponse:
        key = self.keys[Environment.TEST if side else Environment.LIVE]
        return self.http.delete(f"{side}/media/{media_id}", headers=key)

    def confirm(self, media_id: str, side: str = "") -> TestResponse:
        return self.post(f"/media/{media_id}/confirm", side)

    def upload(self, content: bytes = TEXT, side: str = "", **changes: Any) -> dict[str, Any]:
        """Announce, upload and confirm; return the answers together."""
        announced = self.announce(content, side, **changes)
        assert self.put(announced["upload_url"], content, changes.get("content_type", "text/plain")) == 200
        return announced | answer(self.confirm(announced["media_id"], side))

    def download(self, url: str, **headers: str) -> httpx.Response | TestResponse:
        """Get an address of ours or of the store, without a credential."""
        if url.startswith(self.settings.base_url):
            return self.http.get(path_of(url), headers=headers)
        return httpx.get(url, headers=headers)

    def fetch(self, url: str) -> bytes:
        found = self.download(url)
        assert found.status_code == 200
        return found.content if isinstance(found, httpx.Response) else found.data

    def left(self) -> list[str]:
        """Return the names of all files that lie in the storage."""
        if not self.settings.media_s3_bucket:
            root = self.settings.media_path
            return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
        found = client(self.settings).list_objects_v2(Bucket=BUCKET, Prefix=self.settings.media_s3_prefix)
        prefix = len(self.settings.media_s3_prefix)
        return sorted(one["Key"][prefix:] for one in found.get("Contents", []))

    def item(self, media_id: str, environment: Environment = Environment.LIVE) -> MediaItem:
        with within(db.session, environment), reading(db.session):
            item = get_media(db.session, media_id)
            db.session.expunge(item)
            return item

    def place(self, announced: dict[str, Any]) -> ObjectKey:
        return ObjectKey("live", announced["key"])

    @contextmanager
    def uploads(self, environment: Environment = Environment.LIVE) -> Iterator[Uploads]:
        """The same without HTTP, with the session of the test."""
        with within(db.session, environment):
            yield Uploads(db.session, self.clock, self.media)

    def confirm_here(self, media_id: str) -> MediaItem:
        with self.uploads() as uploads:
            return uploads.confirm(SYSTEM, media_id)


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def open_studio(kind: str, folder: Path, template: str | Path) -> Iterator[Studio]:
    """Provide an application for the tests of a module; each of them takes a `fresh` studio in it."""
    clock = TurnableClock()
    settings = settings_for(kind, settings_on(folder / "instance", template), folder.name)
    core = Core(settings, clock, lambda uri: open_destination(uri, Surroundings(folder)))
    app = quiet_app(core)
    with app.app_context():
        yield Studio(app, clock, settings, World(clock, core), SeparateClient(app), core.media)
        db.session.remove()
        db.engine.dispose()


def fresh(studio: Studio) -> Studio:
    """Return a studio with an organization of its own, an empty storage and a clock that was not turned."""
    studio.clock.now = TurnableClock().now
    if studio.settings.media_s3_bucket:
        for name in studio.left():
            client(studio.settings).delete_object(Bucket=BUCKET, Key=studio.settings.media_s3_prefix + name)
    else:
        shutil.rmtree(studio.settings.media_path, ignore_errors=True)
    return replace(studio)


def picture(image_format: str = "PNG", size: tuple[int, int] = (400, 200), mode: str = "RGB", **save: Any) -> bytes:
    """Return a picture with a red left and a blue right half."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, size[0], size[1]))
    kept = io.BytesIO()
    image.convert(mode).save(kept, image_format, **save)
    return kept.getvalue()


def black(image_format: str, size: tuple[int, int]) -> bytes:
    """Return a picture that is small as a file and large once it is decoded."""
    kept = io.BytesIO()
    Image.new("1", size).save(kept, image_format)
    return kept.getvalue()


def is_bucket(studio: Studio) -> bool:
    return isinstance(studio.media.storage, BucketStorage)
