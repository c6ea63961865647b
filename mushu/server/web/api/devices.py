"""`/tenants/…/devices`: the phones and other devices of an app's users."""

from typing import Annotated

from pydantic import BaseModel, Field

from mushu.server.answers import Answer
from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.keys import Scope
from mushu.server.resources import devices
from mushu.server.resources.tenants import TENANT
from mushu.server.web.api.models import Body, Deleted, ListWindow, TenantPath
from mushu.server.web.guard import current_reader, requires
from mushu.server.web.routes import Resource, Route


class DevicePath(TenantPath):
    token: str


class DeviceUser(BaseModel):
    """Whose device it is; left out, anybody's."""

    user_id: str | None = Field(default=None, max_length=devices.USER_ID_LENGTH)


class RegisterDeviceRequest(Body):
    """A device and the user of the app that it belongs to; again is an update."""

    user_id: Annotated[str, Field(min_length=1, max_length=devices.USER_ID_LENGTH)]
    token: Annotated[str, Field(min_length=8, max_length=200)]
    platform: Annotated[str, Field(max_length=16)] = "ios"
    app_version: Annotated[str | None, Field(max_length=64)] = None


class DevicesOf(ListWindow):
    user_id: str | None = Field(default=None, max_length=devices.USER_ID_LENGTH)


class Device(BaseModel):
    tenant_id: str
    user_id: str
    token: str
    platform: str
    app_version: str | None
    environment: str
    created_at: str
    updated_at: str


class DeviceList(BaseModel):
    devices: list[Device]
    next_cursor: str | None


@requires(Scope.WRITE, org_from=TENANT)
def register_device(path: TenantPath, body: RegisterDeviceRequest) -> Answer:
    """Register a device of a user, or tell what is new about one."""
    registration = devices.Registration(tenant_id=path.tenant_id, **body.model_dump())
    with writing(db.session):
        return _answer(devices.register_device(db.session, get_core().clock, registration))


@requires(Scope.READ, org_from=TENANT)
def list_devices(path: TenantPath, query: DevicesOf) -> Answer:
    """List the devices of a tenant, or of one of its users, newest first."""
    found = devices.list_devices(current_reader(), path.tenant_id, query.user_id, query.window)
    return {"devices": [_answer(device) for device in found.rows], "next_cursor": found.next_cursor}


@requires(Scope.WRITE, org_from=TENANT)
def unregister_device(path: DevicePath, query: DeviceUser) -> Deleted:
    """Forget a device: nothing is sent to it any more; with `user_id` only if it is this user's."""
    with writing(db.session):
        devices.unregister_device(db.session, path.tenant_id, path.token, query.user_id)
    return Deleted()


def _answer(device: devices.DeviceRow) -> Answer:
    return {
        "tenant_id": device.tenant_id,
        "user_id": device.user_id,
        "token": device.token,
        "platform": device.platform,
        "app_version": device.app_version,
        "environment": device.environment,
        "created_at": rfc3339(device.created_at),
        "updated_at": rfc3339(device.registered_at),
    }


_MANY = "/tenants/<tenant_id>/devices"

RESOURCE = Resource(
    "devices",
    [
        Route("POST", _MANY, register_device, Device),
        Route("GET", _MANY, list_devices, DeviceList),
        Route("DELETE", f"{_MANY}/<token>", unregister_device, Deleted),
    ],
)
