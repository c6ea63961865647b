"""Tenants: the apps that notifications are sent to, each with its credentials for Apple's push service or without any.

A deleted tenant stays as a row, without its credentials. Never commits. May not import Flask or Click.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import CheckConstraint, ForeignKey, Index, Select, String, Text, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.environments import Environmental, Source, environment_of, prepare, within
from mushu.server.errors import TenantNotFound
from mushu.server.gate.access import OwnerLookup
from mushu.server.idempotency import IdempotencyMark, Idempotent, find_made
from mushu.server.paging import Order, Page, PreparedPages, Window
from mushu.server.resources.apple_credentials import ApnsCredentials, checked_bundle_id
from mushu.server.sealing import SEALED, context_of, ring_to_seal
from mushu.server.sealing.ring import SealingKeys


class TenantRow(Environmental, Idempotent, Base):
    """One app of an organization. A deleted one stays as a row for the audit trail, without its credentials."""

    __tablename__ = "tenants"
    __table_args__ = (
        Index("ix_tenants_org_id_environment_created_at_id", "org_id", "environment", "created_at", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    #: Apple's name for the app, as com.example.shop: the topic of its notifications.
    bundle_id: Mapped[str] = mapped_column(String(155))
    #: Apple's names for the team and for the key; both, with the key, or neither.
    team_id: Mapped[str | None] = mapped_column(String(10))
    apns_key_id: Mapped[str | None] = mapped_column(String(10))
    #: The private key in PEM, sealed.
    sealed_private_key: Mapped[str | None] = mapped_column(Text, info=dict(SEALED))
    #: Whether notifications go to Apple's sandbox; always so in test.
    use_sandbox: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_by: Mapped[str] = mapped_column(String(160))
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def has_credentials(self) -> bool:
        return self.sealed_private_key is not None


#: Deletes what another resource holds of the tenant of this id, in the transaction in which the tenant is deleted.
TenantDeletion: TypeAlias = Callable[[AnySession, Clock, str], None]

_SEALED: Final = TenantRow.__table__.c.sealed_private_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRequest:
    """What is asked for when a tenant is created; the environment is that of the session."""

    org_id: str
    bundle_id: str
    #: None: notifications go to the outbox.
    credentials: ApnsCredentials | None = None
    use_sandbox: bool = False
    idempotency: IdempotencyMark | None = None


def create_tenant(
    session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys, request: TenantRequest
) -> TenantRow:
    """Create a tenant; where a request with the same Idempotency-Key did already, return that one.

    Raises:
        Invalid: the bundle id is not usable.
        IdempotencyMismatch: the key was used for another request.
        SealingFailed: the private key cannot be sealed.
    """
    made = find_made(session, TenantRow, request.idempotency)
    if made is not None:
        return made
    tenant = TenantRow(
        id=public_id("tenant"),
        org_id=request.org_id,
        bundle_id=checked_bundle_id(request.bundle_id),
        use_sandbox=request.use_sandbox or environment_of(session) is Environment.TEST,
        created_at=clock(),
        created_by=str(actor),
    )
    tenant.mark(request.idempotency)
    _set_credentials(session, keys, tenant, request.credentials)
    session.add(tenant)
    session.flush()
    _record(session, clock, actor, "tenant.created", tenant)
    return tenant


def find_tenant(session: AnySession, tenant_id: str) -> TenantRow | None:
    return session.scalars(_living().where(TenantRow.id == tenant_id)).one_or_none()


def get_tenant(session: AnySession, tenant_id: str) -> TenantRow:
    """Return the tenant, if it is of the environment in which the session works.

    Raises:
        TenantNotFound: it is not, or was deleted.
    """
    tenant = find_tenant(session, tenant_id)
    if tenant is None:
        raise TenantNotFound(f"There is no {environment_of(session)} tenant {tenant_id!r}.")
    return tenant


def hold_tenant(session: AnySession, tenant_id: str) -> TenantRow:
    """Return the tenant, to add to it: it is not deleted before this transaction ends.

    Raises:
        TenantNotFound: as for `get_tenant`.
    """
    session.execute(select(TenantRow.id).where(TenantRow.id == tenant_id).with_for_update(read=True, key_share=True))
    return get_tenant(session, tenant_id)


def list_tenants(source: Source, org_id: str, window: Window) -> Page[Any]:
    """Return a page of the organization's tenants, newest first: what may be shown of them."""
    return _LIST.page(source, {"org_id": org_id}, window)


def change_credentials(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    keys: SealingKeys,
    tenant: TenantRow,
    credentials: ApnsCredentials | None,
) -> TenantRow:
    """Put these credentials in the place of those it has; None takes them away, and it writes to its outbox.

    Raises:
        SealingFailed: the private key cannot be sealed.
    """
    _set_credentials(session, keys, tenant, credentials)
    _record(session, clock, actor, "tenant.credentials_changed", tenant)
    return tenant


def choose_host(session: AnySession, clock: Clock, actor: Actor, tenant: TenantRow, *, use_sandbox: bool) -> TenantRow:
    """Send the tenant's notifications to Apple's sandbox, or to production; a test tenant stays in the sandbox."""
    tenant.use_sandbox = use_sandbox or tenant.environment == Environment.TEST
    _record(session, clock, actor, "tenant.host_chosen", tenant)
    return tenant


def delete_tenant(
    session: AnySession, clock: Clock, actor: Actor, tenant_id: str, others: Sequence[TenantDeletion]
) -> None:
    """Delete the tenant, its credentials for good, and what other resources hold of it.

    Args:
        others: what each of the other resources does.

    Raises:
        TenantNotFound: as for `get_tenant`.
    """
    locked = select(TenantRow.id).where(TenantRow.id == tenant_id).with_for_update()  # nobody adds to it from here on
    session.execute(locked)
    tenant = get_tenant(session, tenant_id)
    for delete_of_tenant in others:
        delete_of_tenant(session, clock, tenant_id)
    _mark_deleted(session, clock, actor, tenant)


def delete_tenants_of_org(session: AnySession, clock: Clock, actor: Actor, org_id: str) -> None:
    """Delete all tenants of an organization that is deleted, in both environments, with their credentials."""
    for environment in Environment:
        with within(session, environment):
            for tenant in session.scalars(_living().where(TenantRow.org_id == org_id).with_for_update()).all():
                _mark_deleted(session, clock, actor, tenant)


def credentials_of(tenant: TenantRow, keys: SealingKeys) -> ApnsCredentials | None:
    """Return what the tenant signs with, in clear; None where it has nothing.

    Raises:
        SealingFailed: it cannot be opened.
    """
    if tenant.sealed_private_key is None or tenant.team_id is None or tenant.apns_key_id is None:
        return None
    plain = keys.load().unseal(tenant.sealed_private_key, context_of(_SEALED, tenant.id))
    return ApnsCredentials(tenant.team_id, tenant.apns_key_id, Secret(plain))


_ORG: Final = prepare(select(TenantRow.org_id).where(TenantRow.id == bindparam("id"), TenantRow.deleted_at.is_(None)))


def _find_org(source: Source, tenant_id: str) -> str | None:
    found = _ORG.rows(source, {"id": tenant_id})
    return found[0].org_id if found else None


_LIST: Final = PreparedPages(
    select(
        TenantRow.id, TenantRow.org_id, TenantRow.bundle_id, TenantRow.team_id, TenantRow.apns_key_id,
        TenantRow.use_sandbox, TenantRow.environment, TenantRow.created_at,
    ).where(TenantRow.org_id == bindparam("org_id"), TenantRow.deleted_at.is_(None)),
    Order((TenantRow.created_at, TenantRow.id), descending=True),
)  # fmt: skip

#: For requests that name a tenant in their path.
TENANT: Final = OwnerLookup("tenant", _find_org, TenantNotFound)


def _mark_deleted(session: AnySession, clock: Clock, actor: Actor, tenant: TenantRow) -> None:
    tenant.deleted_at = clock()
    tenant.sealed_private_key = None
    _record(session, clock, actor, "tenant.deleted", tenant)


def _set_credentials(
    session: AnySession, keys: SealingKeys, tenant: TenantRow, credentials: ApnsCredentials | None
) -> None:
    tenant.team_id = credentials.team_id if credentials else None
    tenant.apns_key_id = credentials.key_id if credentials else None
    tenant.sealed_private_key = None
    if credentials is not None:
        context = context_of(_SEALED, tenant.id)
        tenant.sealed_private_key = ring_to_seal(session, keys).seal(credentials.private_key.reveal(), context)


def _living() -> Select[Any]:
    # Read again each time: an earlier transaction of the session may have seen another state.
    return select(TenantRow).where(TenantRow.deleted_at.is_(None)).execution_options(populate_existing=True)


def _record(session: AnySession, clock: Clock, actor: Actor, action: str, tenant: TenantRow) -> None:
    details: dict[str, Detail] = {
        "bundle_id": tenant.bundle_id,
        "environment": tenant.environment,
        "apns_key_id": tenant.apns_key_id,
        "host": "sandbox" if tenant.use_sandbox else "production",
    }
    record(session, clock(), actor, action, tenant.id, org_id=tenant.org_id, details=details)
