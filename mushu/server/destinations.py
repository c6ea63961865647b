"""Named destinations: an operator gives a place a name, and only such names are taken over HTTP.

A URI in a request could name any file of the server; a name can only be one that someone with a shell here has chosen,
for one organization and one environment. What is needed to get in there (addresses, tokens) is sealed. What a place
holds is for `delivery/` to say.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Select, String, Text, bindparam, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from mushu.destination.registry import holds_credential
from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, record
from mushu.server.clock import Clock
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession, Base, UTCDateTime
from mushu.server.environments import Environmental, Source, environment_of, prepare, within
from mushu.server.errors import DestinationNotFound, Invalid, NameTaken, OrgNotFound
from mushu.server.orgs.models import Organization
from mushu.server.paging import Order, Page, Window, ordered_page
from mushu.server.sealing import SEALED, context_of, ring_to_seal
from mushu.server.sealing.ring import SealingKeys

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SETTING: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_URI_LENGTH: Final = 1_000
_VALUE_LENGTH: Final = 65_536
#: For a statement about places of live and of test alike.
EVERYWHERE: Final = {IN_ALL_ENVIRONMENTS: True}
IS_NAMED: Final = text("removed_at IS NULL")
IS_SEALED: Final = text("sealed_settings IS NOT NULL")


class DestinationRow(Environmental, Base):
    """One place that keys of one organization and one environment may be delivered to over HTTP.

    Rows are never deleted.
    """

    __tablename__ = "destinations"
    __table_args__ = (
        Index(
            "uq_destinations_org_id_environment_name",
            "org_id",
            "environment",
            "name",
            unique=True,
            sqlite_where=IS_NAMED,
        ),
        # One place, one organization, one environment, one set of settings: whoever opens it finds them by its URI.
        Index("uq_destinations_uri", "uri", unique=True, sqlite_where=IS_NAMED),
        Index("ix_destinations_uri_removed_at", "uri", "removed_at", sqlite_where=IS_SEALED),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(64))
    #: The canonical URI of the plugin.
    uri: Mapped[str] = mapped_column(Text)
    #: The plugin's settings for this place, one JSON object, encrypted; None where there are none.
    sealed_settings: Mapped[str | None] = mapped_column(Text, info=dict(SEALED))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Who named it, as `operator root`.
    created_by: Mapped[str] = mapped_column(String(160))
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


_NAMED: Final = prepare(
    select(DestinationRow.name, DestinationRow.uri)
    .where(DestinationRow.org_id == bindparam("org_id"), DestinationRow.removed_at.is_(None))
    .order_by(DestinationRow.name)
    .limit(bindparam("limit", type_=Integer))
)


@dataclass(frozen=True, slots=True)
class DestinationRequest:
    """What is to be named: `uri` as its plugin spells it, and what the plugin needs to get in there."""

    org_id: str
    name: str
    uri: str
    settings: Mapping[str, Secret] = field(default_factory=dict)
    #: Whose keys are delivered there.
    environment: Environment = Environment.LIVE


def add(
    session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys, place: DestinationRequest
) -> DestinationRow:
    """Give a place a name in an organization.

    Raises:
        Invalid: the name, the URI or a setting is not usable.
        OrgNotFound: the organization is gone.
        NameTaken: the name stands for another place, or the place has a name, there or in another organization, or in
            the other environment.
        SealingFailed: the settings cannot be sealed.
    """
    check(place)
    _hold_org(session, place.org_id)
    with within(session, place.environment):
        return _add(session, clock, actor, keys, place)


def _add(
    session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys, place: DestinationRequest
) -> DestinationRow:
    _refuse_taken(session, place)
    now = clock()
    destination = DestinationRow(
        id=public_id("dst"),
        org_id=place.org_id,
        name=place.name,
        uri=place.uri,
        created_at=now,
        created_by=str(actor),
        removed_at=None,
    )
    destination.sealed_settings = _sealed(session, keys, destination.id, place.settings)
    session.add(destination)
    try:
        session.flush()
    except IntegrityError:  # where transactions that write do not wait for each other, as on PostgreSQL
        raise NameTaken(
            f"The name {place.name}, or the place, was taken at this very moment. `flask destinations list` tells.",
            field="name",
        ) from None
    _record(session, clock, actor, "destination.added", destination)
    return destination


def change_settings(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    keys: SealingKeys,
    destination: DestinationRow,
    settings: Mapping[str, Secret],
) -> None:
    """Put these settings in the place of all that the destination has; they need not be readable any more.

    Raises:
        Invalid, SealingFailed: they are not usable, or cannot be sealed.
    """
    _check_settings(settings)
    destination.sealed_settings = _sealed(session, keys, destination.id, settings)
    _record(session, clock, actor, "destination.settings_changed", destination)


def find(session: AnySession, org_id: str, name: str) -> DestinationRow | None:
    """Return what the name stands for in the environment in which the session works."""
    return session.scalars(_living().filter_by(org_id=org_id, name=name)).one_or_none()


def get(session: AnySession, org_id: str, name: str) -> DestinationRow:
    """Return the destination.

    Raises:
        DestinationNotFound: the organization has none of this name in this environment.
    """
    destination = find(session, org_id, name)
    if destination is None:
        environment = environment_of(session)
        raise DestinationNotFound(f"There is no {environment} destination {name!r} in this organization.", field="name")
    return destination


def list_destinations(session: AnySession, org_id: str, window: Window) -> Page[DestinationRow]:
    """Return a page of the destinations of an organization in the environment of the session, by name."""
    return ordered_page(session, _living().filter_by(org_id=org_id), Order((DestinationRow.name,)), window)


def read_destinations(source: Source, org_id: str, most: int) -> dict[str, str]:
    """Return the URIs of an organization's destinations in the environment of the source by name, the first ones."""
    return dict(_NAMED.rows(source, {"org_id": org_id, "limit": most}))


def find_at(session: AnySession, uri: str) -> DestinationRow | None:
    """Return the destination that has a name and this URI, in whichever environment."""
    return session.scalars(_living().filter_by(uri=uri), execution_options=EVERYWHERE).one_or_none()


def remove(session: AnySession, clock: Clock, actor: Actor, destination: DestinationRow) -> None:
    """Take the name away; both are free again. `delivery/named_destinations.py` looks at what it still holds."""
    destination.removed_at = clock()
    _record(session, clock, actor, "destination.removed", destination)


def settings_of(destination: DestinationRow, keys: SealingKeys) -> dict[str, str]:
    """Return what the plugin needs to get in there, in clear.

    Raises:
        SealingFailed: it cannot be opened.
    """
    if destination.sealed_settings is None:
        return {}
    settings: dict[str, str] = json.loads(keys.load().unseal(destination.sealed_settings, _context(destination.id)))
    return settings


def check(place: DestinationRequest) -> None:
    """Make sure that a place can have this name, this URI and these settings, as far as they say themselves.

    Raises:
        Invalid: one of them is not usable. Neither a URI nor a value is repeated: it may hold a secret.
    """
    if not _NAME.fullmatch(place.name):
        raise Invalid("A name has 1 to 63 of a-z, 0-9 and -, and does not begin with -.", field="name")
    if holds_credential(place.uri) or holds_credential(unquote(place.uri)):
        raise Invalid(
            "There is a credential in this URI, which everybody sees who sees the destination. If it is a real one, "
            "revoke it. What is needed to get in there is a setting: --ask NAME, or --set-from-file NAME=PATH.",
            field="uri",
        )
    if not 0 < len(place.uri) <= _URI_LENGTH or not place.uri.isprintable():
        raise Invalid(f"A URI has at most {_URI_LENGTH} characters, all of them printable.", field="uri")
    _check_settings(place.settings)


def _check_settings(settings: Mapping[str, Secret]) -> None:
    for name, value in settings.items():
        if not _SETTING.fullmatch(name):
            raise Invalid("The name of a setting has a-z, 0-9 and _, and begins with a letter.", field="settings")
        if not 0 < len(value.reveal()) <= _VALUE_LENGTH or "\0" in value.reveal():
            raise Invalid(f"The setting {name} is empty, too long, or holds a NUL.", field="settings")


def _refuse_taken(session: AnySession, place: DestinationRequest) -> None:
    other = find(session, place.org_id, place.name)
    if other is not None:
        raise NameTaken(
            f"{place.name} stands for {other.uri} already. Choose another name, or remove it.", field="name"
        )
    other = find_at(session, place.uri)
    if other is not None:
        raise NameTaken(
            f"{place.uri} has a name already: {other.name} in {other.org_id}, for {other.environment} keys. One place "
            "belongs to one organization and one environment, under one name.",
            field="uri",
        )


def _hold_org(session: AnySession, org_id: str) -> None:
    """Make sure that the organization lives until this transaction ends, or its deletion would miss the destination."""
    living = select(Organization.id).where(Organization.id == org_id, Organization.deleted_at.is_(None))
    if session.scalar(living.with_for_update(read=True, key_share=True)) is None:
        raise OrgNotFound(f"There is no organization {org_id!r}.", field="org")


def _sealed(session: AnySession, keys: SealingKeys, destination_id: str, settings: Mapping[str, Secret]) -> str | None:
    if not settings:
        return None
    plain = json.dumps({name: value.reveal() for name, value in settings.items()}, ensure_ascii=False)
    return ring_to_seal(session, keys).seal(plain, _context(destination_id))


def _context(destination_id: str) -> str:
    return context_of(DestinationRow.__table__.c.sealed_settings, destination_id)


def _living() -> Select[Any]:
    return select(DestinationRow).where(DestinationRow.removed_at.is_(None))


def _record(session: AnySession, clock: Clock, actor: Actor, action: str, destination: DestinationRow) -> None:
    details = {"name": destination.name, "uri": destination.uri, "environment": destination.environment}
    record(session, clock(), actor, action, destination.id, org_id=destination.org_id, details=details)
