"""The resources that the keys are for, and the one table in which each of them says what it owns.

The rest of the server does not know them. It asks the table (`Core.resources`) when an organization or a tenant is
deleted, and when housekeeping is due. A resource gives the gate an `OwnerLookup`, which leads from its id to the
organization that owns it; its views name the look-up. Tables and sealed columns say themselves what they are.

To add a resource: a module or a package here, a row in `RESOURCES`, its tables in `schema.py`, its views in the mount
table of `app.py`. A resource may not import Flask, Click, the web or a command.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.db import AnySession
from mushu.server.orgs.service import OrgDeletion
from mushu.server.resources.devices import delete_devices_of_org, delete_devices_of_tenant
from mushu.server.resources.media.service import delete_media_of_org, delete_media_of_tenant
from mushu.server.resources.tenants import TenantDeletion, delete_tenants_of_org

#: Removes what time has made superfluous; owns its transactions, and logs what it removed.
HousekeepingDuty: TypeAlias = Callable[[AnySession, Clock, Settings], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """One type of resource, and what it does when something else happens; None: nothing."""

    name: str
    #: In the transaction in which the organization is deleted.
    on_org_deleted: OrgDeletion | None = None
    #: In the transaction in which the tenant is deleted.
    on_tenant_deleted: TenantDeletion | None = None
    housekeeping: HousekeepingDuty | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """All types, in the order in which they act."""

    types: tuple[ResourceType, ...]

    @property
    def on_org_deleted(self) -> Sequence[OrgDeletion]:
        return [found.on_org_deleted for found in self.types if found.on_org_deleted is not None]

    @property
    def on_tenant_deleted(self) -> Sequence[TenantDeletion]:
        return [found.on_tenant_deleted for found in self.types if found.on_tenant_deleted is not None]

    @property
    def housekeeping(self) -> Sequence[HousekeepingDuty]:
        return [found.housekeeping for found in self.types if found.housekeeping is not None]


def _clean_notifications(session: AnySession, clock: Clock, settings: Settings) -> None:
    from mushu.server.resources.notifications.cleaning import clean_notifications  # only housekeeping needs it

    clean_notifications(session, clock, settings)


def _clean_media(session: AnySession, clock: Clock, settings: Settings) -> None:
    from mushu.server.resources.media.uploading import clean_media  # only housekeeping needs it, and it loads storages

    clean_media(session, clock, settings)


RESOURCES: Final = Resources(
    (
        # First: it locks the tenants, so that nobody adds a device to one meanwhile.
        ResourceType(name="tenants", on_org_deleted=delete_tenants_of_org),
        ResourceType(name="devices", on_org_deleted=delete_devices_of_org, on_tenant_deleted=delete_devices_of_tenant),
        # What was sent stays for the time that the operator has set, also after its tenant is deleted.
        ResourceType(name="notifications", housekeeping=_clean_notifications),
        ResourceType(
            name="media",
            on_org_deleted=delete_media_of_org,
            on_tenant_deleted=delete_media_of_tenant,
            housekeeping=_clean_media,
        ),
    )
)
