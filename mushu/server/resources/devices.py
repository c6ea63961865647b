"""Devices: the phones, and what else runs Apple's systems, where a user of a tenant's app can be reached.

Each is known by the token that Apple gave it. May not import Flask or Click. The device of OAuth's device flow is
another thing, and stands in `tokens`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, bindparam, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.environments import Environmental, Source, within
from mushu.server.errors import DeviceNotFound, Invalid
from mushu.server.paging import Order, Page, PreparedPages, Window
from mushu.server.resources.tenants import TenantRow, hold_tenant
from mushu.terminal import is_readable


class DeviceRow(Environmental, Base):
    """One device of one user of a tenant's app. The row is deleted with its registration."""

    __tablename__ = "devices"
    __table_args__ = (
        Index("uq_devices_tenant_id_token", "tenant_id", "token", unique=True),
        Index("ix_devices_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_devices_tenant_id_user_id_created_at_id", "tenant_id", "user_id", "created_at", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    #: Whatever the app calls its user; not one of ours.
    user_id: Mapped[str] = mapped_column(String(200))
    #: Apple's token for this app on this device.
    token: Mapped[str] = mapped_column(String(200))
    platform: Mapped[str] = mapped_column(String(16))
    app_version: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: When it was last registered; a notice from Apple that the token is dead counts only if it is younger.
    registered_at: Mapped[datetime] = mapped_column(UTCDateTime)


#: A token stands in the path of a request to Apple, so nothing else may be in it. Apple's are 64 hexadecimal digits
#: today, and "of variable length".
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{8,200}")
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+")
USER_ID_LENGTH: Final = 200
_VERSION_LENGTH: Final = 64
#: Devices that one user may have with one tenant: an app that registers a new token at every start is stopped here.
MOST_OF_A_USER: Final = 100
_AT_ONCE: Final = 500


class Platform(StrEnum):
    IOS = "ios"
    IPADOS = "ipados"
    MACOS = "macos"
    TVOS = "tvos"
    VISIONOS = "visionos"
    WATCHOS = "watchos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a device says of itself."""

    tenant_id: str
    user_id: str
    token: str
    platform: str = Platform.IOS
    app_version: str | None = None


def register_device(session: AnySession, clock: Clock, registration: Registration) -> DeviceRow:
    """Register a device; one that is registered already gets what is new: its user, its version, the time.

    Raises:
        Invalid: the token, the user or the platform is not usable, or the user has too many devices.
        TenantNotFound: the tenant is not there, or was deleted a moment ago.
    """
    _check(registration)
    hold_tenant(session, registration.tenant_id)
    now = clock()
    token = normalized_token(registration.token)
    device = find_device(session, registration.tenant_id, token)
    if device is None or device.user_id != registration.user_id:
        _refuse_too_many(session, registration)
    if device is None:
        device = DeviceRow(id=public_id("device"), tenant_id=registration.tenant_id, token=token, created_at=now)
        session.add(device)
    device.user_id = registration.user_id
    device.platform = Platform(registration.platform)
    device.app_version = registration.app_version
    device.registered_at = now
    session.flush()
    return device


def normalized_token(token: str) -> str:
    """Return the one form of a token: hexadecimal digits, which are bytes to Apple, are in lower case."""
    return token.lower() if _HEXADECIMAL.fullmatch(token) else token


def find_device(session: AnySession, tenant_id: str, token: str) -> DeviceRow | None:
    query = select(DeviceRow).where(DeviceRow.tenant_id == tenant_id, DeviceRow.token == normalized_token(token))
    return session.scalars(query).one_or_none()


_OF_TENANT: Final = select(
    DeviceRow.id, DeviceRow.tenant_id, DeviceRow.user_id, DeviceRow.token, DeviceRow.platform, DeviceRow.app_version,
    DeviceRow.environment, DeviceRow.created_at, DeviceRow.registered_at,
).where(DeviceRow.tenant_id == bindparam("tenant_id"))  # fmt: skip
_NEWEST_FIRST: Final = Order((DeviceRow.created_at, DeviceRow.id), descending=True)
_ALL: Final = PreparedPages(_OF_TENANT, _NEWEST_FIRST)
_OF_USER: Final = PreparedPages(_OF_TENANT.where(DeviceRow.user_id == bindparam("user_id")), _NEWEST_FIRST)


def list_devices(source: Source, tenant_id: str, user_id: str | None, window: Window) -> Page[Any]:
    """Return a page of the tenant's devices, or of one user's, newest first: what may be shown of them."""
    if user_id is None:
        return _ALL.page(source, {"tenant_id": tenant_id}, window)
    return _OF_USER.page(source, {"tenant_id": tenant_id, "user_id": user_id}, window)


def devices_of(session: AnySession, tenant_id: str, user_ids: Sequence[str]) -> dict[str, list[DeviceRow]]:
    """Return the devices of these users, by user; a user who has none is left out."""
    found: dict[str, list[DeviceRow]] = {}
    for start in range(0, len(user_ids), _AT_ONCE):
        some = user_ids[start : start + _AT_ONCE]
        query = select(DeviceRow).where(DeviceRow.tenant_id == tenant_id, DeviceRow.user_id.in_(some))
        for device in session.scalars(query.order_by(DeviceRow.created_at, DeviceRow.id)):
            found.setdefault(device.user_id, []).append(device)
    return found


def unregister_device(session: AnySession, tenant_id: str, token: str, user_id: str | None = None) -> None:
    """Forget a device.

    Args:
        user_id: forget it only if it is this user's.

    Raises:
        DeviceNotFound: the tenant, or this user of it, has none with this token.
    """
    query = delete(DeviceRow).where(DeviceRow.tenant_id == tenant_id, DeviceRow.token == normalized_token(token))
    if user_id is not None:
        query = query.where(DeviceRow.user_id == user_id)
    if session.execute(query).rowcount == 0:  # type: ignore[attr-defined]
        raise DeviceNotFound("This tenant has no device with this token.")


def forget_dead(session: AnySession, tenant_id: str, tokens: Iterable[str], *, since: datetime) -> None:
    """Forget devices that can no longer be reached, but for those that were registered again after `since`."""
    dead = [normalized_token(token) for token in tokens]
    mine = delete(DeviceRow).where(DeviceRow.tenant_id == tenant_id, DeviceRow.token.in_(dead))
    session.execute(mine.where(DeviceRow.registered_at <= since))


def delete_devices_of_tenant(session: AnySession, _clock: Clock, tenant_id: str) -> None:
    """Forget all devices of a tenant that is deleted."""
    session.execute(delete(DeviceRow).where(DeviceRow.tenant_id == tenant_id))


def delete_devices_of_org(session: AnySession, _clock: Clock, _actor: Actor, org_id: str) -> None:
    """Forget all devices of an organization that is deleted, in both environments."""
    for environment in Environment:
        with within(session, environment):
            tenants = select(TenantRow.id).where(TenantRow.org_id == org_id)
            session.execute(delete(DeviceRow).where(DeviceRow.tenant_id.in_(tenants)))


def _check(registration: Registration) -> None:
    if not _TOKEN.fullmatch(registration.token):
        raise Invalid("A device token has 8 to 200 of 0-9, a-z, A-Z, - and _.", field="token")
    user_id = registration.user_id
    if not 0 < len(user_id) <= USER_ID_LENGTH or not is_readable(user_id) or user_id != user_id.strip():
        raise Invalid(f"user_id has 1 to {USER_ID_LENGTH} characters, none of them invisible.", field="user_id")
    if registration.platform not in tuple(Platform):
        raise Invalid(f"platform is one of {', '.join(Platform)}.", field="platform")
    version = registration.app_version
    if version is not None and (len(version) > _VERSION_LENGTH or not is_readable(version)):
        raise Invalid(f"app_version has at most {_VERSION_LENGTH} characters, none invisible.", field="app_version")


def _refuse_too_many(session: AnySession, registration: Registration) -> None:
    mine = select(func.count()).select_from(DeviceRow).where(DeviceRow.tenant_id == registration.tenant_id)
    count = session.scalar(mine.where(DeviceRow.user_id == registration.user_id)) or 0
    if count >= MOST_OF_A_USER:
        raise Invalid(f"This user has {MOST_OF_A_USER} devices already. Unregister some.", field="user_id")
