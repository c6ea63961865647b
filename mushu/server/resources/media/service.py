"""Rows of media: announced, found, listed, and what may become of them. Never commits."""

from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, CursorResult, Select, bindparam, func, select, update

from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.environments import Source, environment_of, prepare, within
from mushu.server.errors import Invalid, MediaNotFound, TenantNotFound, TooManyUploads
from mushu.server.gate.access import OwnerLookup
from mushu.server.idempotency import IdempotencyMark, find_made
from mushu.server.paging import Page, Window, page
from mushu.server.resources.media.content_types import MOST_PICTURE_BYTES, checked_content_type, is_picture
from mushu.server.resources.media.links import LIFE
from mushu.server.resources.media.models import MediaItem, Status, new_key
from mushu.server.resources.tenants import hold_tenant
from mushu.terminal import is_readable

#: Of a filename.
MOST_LETTERS: Final = 255
#: Announced and not confirmed, of one organization in one environment.
MOST_UNFINISHED: Final = 1_000
_UNFINISHED: Final = (Status.PENDING, Status.UPLOADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A file that is to come; the environment is that of the session."""

    org_id: str
    tenant_id: str | None
    filename: str
    content_type: str
    size_bytes: int
    idempotency: IdempotencyMark | None = None


def announce(session: AnySession, clock: Clock, actor: Actor, asked: Announcement, max_bytes: int) -> MediaItem:
    """Return a new item that waits for its upload; where the same Idempotency-Key made one already, that one.

    Raises:
        Invalid: name, content type or size are not usable.
        TenantNotFound: there is no such tenant of this organization.
        TooManyUploads: too many others wait.
        IdempotencyMismatch: the key was used for another request.
    """
    made = find_made(session, MediaItem, asked.idempotency)
    if made is not None:
        if made.status == Status.PENDING:
            made.upload_ends_at = clock() + LIFE
        return made
    content_type = checked_content_type(asked.content_type)
    _require_size(asked.size_bytes, content_type, max_bytes)
    _require_tenant(session, asked)
    _require_room(session, asked.org_id)
    filename, now = _checked_filename(asked.filename), clock()
    item = MediaItem(
        id=public_id("media"),
        org_id=asked.org_id,
        tenant_id=asked.tenant_id,
        filename=filename,
        content_type=content_type,
        size_bytes=asked.size_bytes,
        key=new_key(filename),
        status=Status.PENDING,
        upload_ends_at=now + LIFE,
        created_at=now,
        created_by=str(actor),
        updated_at=now,
    )
    item.mark(asked.idempotency)
    session.add(item)
    session.flush()
    _record(session, clock, actor, "media.created", item)
    return item


def find_media(session: AnySession, media_id: str) -> MediaItem | None:
    return session.scalars(_living().where(MediaItem.id == media_id)).one_or_none()


def find_media_by_key(session: AnySession, key: str) -> MediaItem | None:
    return session.scalars(_living().where(MediaItem.key == key)).one_or_none()


def get_media(session: AnySession, media_id: str) -> MediaItem:
    """Return the item as it is now, if it is of the environment in which the session works.

    Raises:
        MediaNotFound: it is not, or was deleted.
    """
    item = find_media(session, media_id)
    if item is None:
        raise MediaNotFound(f"There is no {environment_of(session)} media {media_id!r}.")
    return item


def list_media_of_org(session: AnySession, org_id: str, window: Window) -> Page[MediaItem]:
    """Return a page of the organization's media, newest first."""
    return _listed(session, MediaItem.org_id == org_id, window)


def list_media_of_tenant(session: AnySession, tenant_id: str, window: Window) -> Page[MediaItem]:
    """Return a page of the tenant's media, newest first."""
    return _listed(session, MediaItem.tenant_id == tenant_id, window)


def mark_uploaded(session: AnySession, clock: Clock, item: MediaItem) -> bool:
    """Note that all bytes are there; False where the item does not wait for them any more."""
    return _become(session, item, (Status.PENDING,), status=Status.UPLOADED, updated_at=clock())


def mark_ready(session: AnySession, clock: Clock, actor: Actor, item: MediaItem) -> bool:
    """Let the item be served; False where it is ready, failed or deleted already."""
    changed = _become(session, item, _UNFINISHED, status=Status.READY, updated_at=clock())
    if changed:
        _record(session, clock, actor, "media.ready", item)
    return changed


def mark_failed(session: AnySession, clock: Clock, actor: Actor, item: MediaItem, why: str) -> bool:
    """Give the item up, and have its bytes removed; False where it is ready, failed or deleted already."""
    now = clock()
    gone = {"status": Status.FAILED, "failure": why, "updated_at": now, "removal_at": now}
    changed = _become(session, item, _UNFINISHED, **gone)
    if changed:
        _record(session, clock, actor, "media.failed", item)
    return changed


def delete_media(session: AnySession, clock: Clock, actor: Actor, item: MediaItem) -> None:
    """Take the item from every reader at once; its bytes are removed after the transaction."""
    _mark_deleted(session, clock, MediaItem.id == item.id)
    _record(session, clock, actor, "media.deleted", item)


def delete_media_of_tenant(session: AnySession, clock: Clock, tenant_id: str) -> None:
    """Mark all media of a tenant as deleted, in the environment in which the session works."""
    _mark_deleted(session, clock, MediaItem.tenant_id == tenant_id)


def delete_media_of_org(session: AnySession, clock: Clock, _actor: Actor, org_id: str) -> None:
    """Mark all media of an organization as deleted, in both environments."""
    for environment in Environment:
        with within(session, environment):
            _mark_deleted(session, clock, MediaItem.org_id == org_id)


_ORG: Final = prepare(select(MediaItem.org_id).where(MediaItem.id == bindparam("id"), MediaItem.deleted_at.is_(None)))


def _find_org(source: Source, media_id: str) -> str | None:
    found = _ORG.rows(source, {"id": media_id})
    return found[0].org_id if found else None


#: For requests that name media in their path.
MEDIA: Final = OwnerLookup("media", _find_org, MediaNotFound)


def _mark_deleted(session: AnySession, clock: Clock, which: ColumnElement[bool]) -> None:
    now = clock()
    gone = update(MediaItem).where(which, MediaItem.deleted_at.is_(None))
    gone = gone.values(deleted_at=now, updated_at=now, removal_at=now)
    session.execute(gone.execution_options(synchronize_session=False))


def _become(session: AnySession, item: MediaItem, before: tuple[Status, ...], **values: Any) -> bool:
    """Change the item only if it is still in one of these states: who comes second finds nothing to change."""
    change = update(MediaItem).where(
        MediaItem.id == item.id, MediaItem.status.in_(before), MediaItem.deleted_at.is_(None)
    )
    done = session.execute(change.values(**values).execution_options(synchronize_session=False))
    return cast(CursorResult[Any], done).rowcount == 1


def _living() -> Select[Any]:
    # Changes are made past the objects that a session keeps, so these are always read again.
    return select(MediaItem).where(MediaItem.deleted_at.is_(None)).execution_options(populate_existing=True)


def _listed(session: AnySession, which: ColumnElement[bool], window: Window) -> Page[MediaItem]:
    return page(session, _living().where(which), MediaItem.created_at, MediaItem.id, window)


def _checked_filename(name: str) -> str:
    """Return the name of a file, which is a label only: no path is ever made of it.

    Raises:
        Invalid: it is empty, too long, a path, or holds what cannot be seen.
    """
    if not name.strip() or len(name) > MOST_LETTERS:
        raise Invalid(f"A filename has 1 to {MOST_LETTERS} characters.", field="filename")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise Invalid("A filename is the name of a file, without folders.", field="filename")
    if not is_readable(name):
        raise Invalid("A filename holds no control, direction or other invisible characters.", field="filename")
    return name


def _require_size(size: int, content_type: str, max_bytes: int) -> None:
    most = min(max_bytes, MOST_PICTURE_BYTES) if is_picture(content_type) else max_bytes
    if not 1 <= size <= most:
        raise Invalid(f"A file of this kind has 1 to {most} bytes.", field="size_bytes")


def _require_tenant(session: AnySession, asked: Announcement) -> None:
    """A tenant of another organization is as little there as one that does not exist."""
    if asked.tenant_id is None:
        return
    tenant = hold_tenant(session, asked.tenant_id)
    if tenant.org_id != asked.org_id:
        raise TenantNotFound(f"There is no {environment_of(session)} tenant {asked.tenant_id!r}.")


def _require_room(session: AnySession, org_id: str) -> None:
    query = select(func.count()).select_from(MediaItem)
    query = query.where(MediaItem.org_id == org_id, MediaItem.status.in_(_UNFINISHED), MediaItem.deleted_at.is_(None))
    if (session.scalar(query) or 0) >= MOST_UNFINISHED:
        raise TooManyUploads(
            f"{MOST_UNFINISHED} files are announced and not confirmed. Upload, confirm or delete some, or wait."
        )


def _record(session: AnySession, clock: Clock, actor: Actor, action: str, item: MediaItem) -> None:
    details: dict[str, Detail] = {
        "filename": item.filename,
        "content_type": item.content_type,
        "size_bytes": item.size_bytes,
        "environment": item.environment,
        "tenant_id": item.tenant_id,
    }
    record(session, clock(), actor, action, item.id, org_id=item.org_id, details=details)
