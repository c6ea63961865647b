"""The bytes of media: uploads, downloads and pictures. No credential is asked for: the address is the permission.

Each of these may hold a thread for as long as its client takes, so each takes one of the places that are for that. A
client that is too slow is ended by who reads for it (`web/body_timeouts.py`), or by who looks at its connection
(`server/operation/serving.py`).
"""

import sys
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from typing import Final, Literal

from flask import Response, redirect, request
from pydantic import BaseModel, Field
from werkzeug import Response as BaseResponse
from werkzeug.exceptions import PreconditionFailed
from werkzeug.wsgi import wrap_file

from mushu.environment import Environment
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import LinkNotValid, MediaNotFound
from mushu.server.gate.access import Requirement, still_may
from mushu.server.keys import Scope
from mushu.server.resources.media.content_types import HEAD, kind_of
from mushu.server.resources.media.links import EXPIRES_PATTERN, ISSUER_PATTERN, SIGNATURE_PATTERN, Purpose, SignedLink
from mushu.server.resources.media.models import KEY_PATTERN, MediaItem, Status
from mushu.server.resources.media.pictures import Variant, get_picture, open_variant
from mushu.server.resources.media.service import find_media
from mushu.server.resources.media.storage import CHUNK, Opened
from mushu.server.resources.media.uploading import Uploads
from mushu.server.web.api.models import MediaPath
from mushu.server.web.guard import public
from mushu.server.web.response_headers import allow_all_origins
from mushu.server.web.routes import Resource, Route, content
from mushu.server.web.thread_slots import thread_slot

#: What the issuer of an address must still be allowed to do when it is used.
_NEEDED: Final = {Purpose.UPLOAD: Requirement(Scope.WRITE), Purpose.DOWNLOAD: Requirement(Scope.READ)}
_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
#: Seconds for which a picture may be shown again without asking; after a deletion, caches may show it for as long.
_PICTURE_LIFE: Final = 300


class Signed(BaseModel):
    """What a signed address carries; `by` is who was given it."""

    by: str = Field(pattern=ISSUER_PATTERN)
    expires: str = Field(pattern=EXPIRES_PATTERN)
    signature: str = Field(pattern=SIGNATURE_PATTERN)


class PicturePath(BaseModel):
    variant: Literal["original", "thumbnail", "small", "medium", "large"]
    key: str = Field(pattern=KEY_PATTERN)


class Uploaded(BaseModel):
    """All bytes are there; confirm them next."""

    media_id: str
    status: Literal["uploaded"] = "uploaded"


@allow_all_origins
@public
def receive_upload(path: MediaPath, query: Signed) -> Uploaded:
    """Upload the bytes of an announced file to its signed address."""
    core = get_core()
    item = _signed_item(Purpose.UPLOAD, path, query)
    with ExitStack() as transfer:
        transfer.enter_context(thread_slot())
        request.max_content_length = sys.maxsize  # what was announced is the limit
        uploads = Uploads(db.session, core.clock, core.media)
        item = uploads.receive(
            item, request.mimetype, request.content_length, iter(partial(request.stream.read, CHUNK), b"")
        )
    return Uploaded(media_id=item.id)


@allow_all_origins
@public
def send_download(path: MediaPath, query: Signed) -> BaseResponse:
    """Download a file from its signed address."""
    item = _signed_item(Purpose.DOWNLOAD, path, query)
    if item.status != Status.READY:
        raise MediaNotFound("There is nothing to download at this address.")
    return _original(item)


@public
def send_picture(path: PicturePath) -> BaseResponse:
    """Show a picture in one of its sizes."""
    variant = Variant(path.variant)
    item = get_picture(db.session, path.key)
    response = _original(item) if variant is Variant.ORIGINAL else _smaller(item, variant)
    response.headers["Cache-Control"] = f"public, max-age={_PICTURE_LIFE}"
    return response


def _signed_item(purpose: Purpose, path: MediaPath, query: Signed) -> MediaItem:
    core, link = get_core(), SignedLink(query.by, query.expires, query.signature)
    with reading(db.session):
        item = find_media(db.session, path.media_id)
        core.media.signer.verify(purpose, item, link, core.clock())
        if item is None:  # no signature fits what is not there
            raise MediaNotFound("There is no such media.")
        environment = Environment(item.environment)
        if not still_may(db.session, core.clock(), query.by, _NEEDED[purpose], environment, item.org_id):
            raise LinkNotValid("The issuer of this link may not do this any more. Ask for a new one.")
    return item


def _original(item: MediaItem) -> BaseResponse:
    storage = get_core().media.storage
    elsewhere = storage.download_url(item.object_key, item.presentation, _PICTURE_LIFE)
    if elsewhere is not None:
        return redirect(elsewhere)
    with ExitStack() as transfer:
        transfer.enter_context(thread_slot())
        opened = storage.open(item.object_key)
        if opened is None:
            raise MediaNotFound("This was deleted just now.")
        transfer.callback(opened.file.close)
        response = _streamed(item, opened)
        response.call_on_close(transfer.pop_all().close)
    return response


def _smaller(item: MediaItem, variant: Variant) -> Response:
    media = get_core().media
    with ExitStack() as transfer:
        transfer.enter_context(thread_slot())
        opened = open_variant(db.session, media.storage, media.pictures, item, variant)
        with opened.file as file:
            picture = file.read()
    # It is small: handed over whole, it holds no thread while a slow client takes it.
    response = Response(picture, mimetype=kind_of(picture[:HEAD]))
    return _conditional(response, f"{item.id}-{variant}", len(picture))


def _streamed(item: MediaItem, opened: Opened) -> Response:
    response = Response(wrap_file(request.environ, opened.file, CHUNK), content_type=item.presentation.content_type)
    response.content_length = opened.size
    response.headers["Content-Disposition"] = item.presentation.disposition
    return _conditional(response, item.id, opened.size)


def _conditional(response: Response, etag: str, size: int) -> Response:
    """Answer with a part, or with nothing where the client has it; and see that a browser runs none of it."""
    response.set_etag(etag)
    response.make_conditional(request, accept_ranges=True, complete_length=size)
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise PreconditionFailed
    response.headers["Content-Security-Policy"] = _POLICY
    return response


_CONFLICT: Final = HTTPStatus.CONFLICT
_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
_CONTENT: Final = "/media/<media_id>/content"
_ANY: Final = content("*/*")
_PICTURE: Final = content("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif")
_CACHED: Final = {HTTPStatus.FOUND: None, HTTPStatus.NOT_MODIFIED: None}
_RANGE: Final = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, _UNAVAILABLE)
_UPLOAD: Final = (
    HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, _CONFLICT, _UNAVAILABLE
)  # fmt: skip

#: Opened by an address that was answered before, without a credential.
RESOURCE = Resource(
    "media content",
    [
        Route("PUT", _CONTENT, receive_upload, Uploaded, _UPLOAD, takes_bytes=True),
        Route(
            "GET", _CONTENT, send_download, _ANY, (HTTPStatus.FORBIDDEN, *_RANGE),
            {HTTPStatus.PARTIAL_CONTENT: _ANY, **_CACHED},
        ),
        Route(
            "GET", "/t/<variant>/<key>", send_picture, _PICTURE, _RANGE,
            {HTTPStatus.PARTIAL_CONTENT: _PICTURE, **_CACHED},
        ),
    ],
)  # fmt: skip
