"""Media: announce an upload, confirm it, list and delete files, and ask for their addresses."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import MediaWrongState, TenantNotFound
from mushu.server.gate.access import OrgFrom
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import Scope
from mushu.server.paging import Page
from mushu.server.resources.media import service
from mushu.server.resources.media.content_types import (
    CONTENT_TYPE_PATTERN,
    is_picture,
    media_type_of,
)
from mushu.server.resources.media.links import LIFE, Purpose
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.pictures import Variant
from mushu.server.resources.media.service import MEDIA, MOST_LETTERS
from mushu.server.resources.media.uploading import Uploads
from mushu.server.resources.tenants import TENANT
from mushu.server.web.api.models import (
    Body,
    Deleted,
    IdempotencyHeader,
    ListWindow,
    MediaPath,
    OrgPath,
    TenantPath,
    idempotency_of,
)
from mushu.server.web.guard import current_org, current_principal, requires
from mushu.server.web.routes import Resource, Route, absolute_url

#: The largest that any setting allows; `MUSHU_MEDIA_MAX_BYTES` may say less.
LARGEST: Final = 5 * 1024**3
_LIFE_SECONDS: Final = int(LIFE / timedelta(seconds=1))


class NewUpload(Body):
    """A file that is to come."""

    org_id: str | None = Field(default=None, max_length=24)
    tenant_id: str | None = Field(default=None, max_length=24)
    filename: Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]
    content_type: Annotated[str, Field(min_length=3, max_length=99, pattern=CONTENT_TYPE_PATTERN)]
    size_bytes: Annotated[int, Field(ge=1, le=LARGEST)]

    def announcement(self, org_id: str, repetition: IdempotencyMark | None) -> service.Announcement:
        return service.Announcement(
            org_id=org_id,
            tenant_id=self.tenant_id,
            filename=self.filename,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            idempotency=repetition,
        )


class UploadAddress(BaseModel):
    """Where to PUT the bytes, and for how many seconds."""

    media_id: str
    upload_url: str
    key: str
    expires_in: int


class MediaOfTenant(ListWindow):
    org_id: str | None = Field(default=None, max_length=24)


class ConfirmedMedia(BaseModel):
    media_id: str
    status: Literal["ready"]
    url: str


class Media(BaseModel):
    """One file. `app_id` is `tenant_id` for older clients. `url` is signed, for an hour, and null until it is ready."""

    media_id: str
    org_id: str
    tenant_id: str | None
    app_id: str | None
    filename: str
    content_type: str
    size_bytes: int
    media_type: Literal["image", "video", "document", "other"]
    status: Literal["pending", "uploaded", "ready", "failed"]
    key: str
    created_at: str
    updated_at: str
    url: str | None


class MediaList(BaseModel):
    items: list[Media]
    next_cursor: str | None


class MediaUrl(BaseModel):
    media_id: str
    url: str
    expires_in: int


class ImageUrls(BaseModel):
    """Addresses of a picture, which need no credential: whoever knows one sees the picture."""

    media_id: str
    original: str
    thumbnail: str
    small: str
    medium: str
    large: str


@requires(Scope.WRITE, org_from=OrgFrom.FIELD)
def create_upload_url(header: IdempotencyHeader, body: NewUpload) -> UploadAddress:
    """Announce a file, and get the address to PUT it to."""
    core, actor = get_core(), current_principal().actor
    asked = body.announcement(current_org(), idempotency_of(header, body))
    with writing(db.session):
        item = service.announce(db.session, core.clock, actor, asked, core.settings.media_max_bytes)
    url = core.media.storage.upload_url(item.object_key, item.content_type, item.size_bytes, _LIFE_SECONDS)
    upload_url = url or _own_url(Purpose.UPLOAD, item)
    return UploadAddress(media_id=item.id, upload_url=upload_url, key=item.key, expires_in=_LIFE_SECONDS)


@requires(Scope.WRITE, org_from=MEDIA)
def confirm_media(path: MediaPath) -> ConfirmedMedia:
    """Say that a file is uploaded: it is looked at, and served from then on."""
    core = get_core()
    item = Uploads(db.session, core.clock, core.media).confirm(current_principal().actor, path.media_id)
    return ConfirmedMedia(media_id=item.id, status="ready", url=_download_url(item))


@requires(Scope.READ, org_from=MEDIA)
def show_media(path: MediaPath) -> Media:
    """Show what is known of a file."""
    return _answer(_item(path))


@requires(Scope.READ)
def list_media_of_organization(path: OrgPath, query: ListWindow) -> MediaList:
    """List the files of an organization, newest first."""
    with reading(db.session):
        return _listed(service.list_media_of_org(db.session, path.org_id, query.window))


@requires(Scope.READ, org_from=TENANT)
def list_media_of_tenant(path: TenantPath, query: MediaOfTenant) -> MediaList:
    """List the files of a tenant, newest first."""
    if query.org_id not in (None, current_org()):
        raise TenantNotFound(f"There is no tenant {path.tenant_id!r} of that organization.")
    with reading(db.session):
        return _listed(service.list_media_of_tenant(db.session, path.tenant_id, query.window))


@requires(Scope.WRITE, org_from=MEDIA)
def delete_media(path: MediaPath) -> Deleted:
    """Delete a file: the very next request for it, or for a picture made of it, finds nothing."""
    core = get_core()
    Uploads(db.session, core.clock, core.media).delete(current_principal().actor, path.media_id)
    return Deleted()


@requires(Scope.READ, org_from=MEDIA)
def show_media_url(path: MediaPath) -> MediaUrl:
    """Get a signed address at which the file can be downloaded for an hour, without a credential."""
    item = _ready(path)
    return MediaUrl(media_id=item.id, url=_download_url(item), expires_in=_LIFE_SECONDS)


@requires(Scope.READ, org_from=MEDIA)
def show_image_urls(path: MediaPath) -> ImageUrls:
    """Get the addresses of a picture in several sizes."""
    item = _ready(path)
    if not is_picture(item.content_type):
        raise MediaWrongState(f"There are no pictures of {item.content_type}. Use its url.")
    urls = {str(variant): absolute_url(item.environment, f"/t/{variant}/{item.key}") for variant in Variant}
    return ImageUrls(media_id=item.id, **urls)


def _item(path: MediaPath) -> MediaItem:
    with reading(db.session):
        return service.get_media(db.session, path.media_id)


def _ready(path: MediaPath) -> MediaItem:
    item = _item(path)
    if item.status != Status.READY:
        raise MediaWrongState(f"This is not ready but {item.status}. Upload it, and confirm it.")
    return item


def _own_url(purpose: Purpose, item: MediaItem) -> str:
    core = get_core()
    issuer_id = current_principal().actor.id
    expires, signature = core.media.signer.sign(purpose, item, issuer_id, core.clock() + LIFE)
    query = f"by={issuer_id}&expires={expires}&signature={signature}"
    return absolute_url(item.environment, f"/media/{item.id}/content?{query}")


def _download_url(item: MediaItem) -> str:
    url = get_core().media.storage.download_url(item.object_key, item.presentation, _LIFE_SECONDS)
    return url or _own_url(Purpose.DOWNLOAD, item)


def _listed(found: Page[MediaItem]) -> MediaList:
    return MediaList(items=[_answer(item) for item in found.rows], next_cursor=found.next_cursor)


def _answer(item: MediaItem) -> Media:
    return Media.model_validate(
        {
            "media_id": item.id,
            "org_id": item.org_id,
            "tenant_id": item.tenant_id,
            "app_id": item.tenant_id,
            "filename": item.filename,
            "content_type": item.content_type,
            "size_bytes": item.size_bytes,
            "media_type": media_type_of(item.content_type),
            "status": item.status,
            "key": item.key,
            "created_at": rfc3339(item.created_at),
            "updated_at": rfc3339(item.updated_at),
            "url": _download_url(item) if item.status == Status.READY else None,
        }
    )


_CONFLICT: Final = HTTPStatus.CONFLICT
_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
_ONE: Final = "/media/<media_id>"

RESOURCE = Resource(
    "media",
    [
        Route("POST", "/media/upload-url", create_upload_url, UploadAddress, (HTTPStatus.NOT_FOUND, _CONFLICT)),
        Route("GET", "/media/org/<org_id>", list_media_of_organization, MediaList),
        Route("GET", "/media/tenant/<tenant_id>", list_media_of_tenant, MediaList),
        Route("GET", _ONE, show_media, Media),
        Route("DELETE", _ONE, delete_media, Deleted),
        Route("POST", f"{_ONE}/confirm", confirm_media, ConfirmedMedia, (_CONFLICT, _UNAVAILABLE)),
        Route("GET", f"{_ONE}/url", show_media_url, MediaUrl, (_CONFLICT,)),
        Route("GET", f"{_ONE}/images", show_image_urls, ImageUrls, (_CONFLICT,)),
    ],
)
