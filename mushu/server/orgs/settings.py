"""What an organization settles for itself: defaults and limits for its new keys, and which members it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ForeignKey, Integer, String, Text, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.duration import written_duration
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.environments import Source, prepare
from mushu.server.errors import Invalid
from mushu.server.orgs.models import Organization

#: Below that, a key would be over before it has reached its place.
SHORTEST_LIFE: Final = timedelta(hours=1)
MOST_DOMAINS: Final = 50
_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class OrgSettingsRow(Base):
    """What an organization has settled for itself; where there is no row, and where a column is None, nothing."""

    __tablename__ = "org_settings"

    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    #: Scopes of a new key that names none, comma-separated.
    default_scopes: Mapped[str | None] = mapped_column(String(32))
    #: Seconds that a new key lives that says nothing else.
    default_lifetime: Mapped[int | None] = mapped_column(Integer)
    #: Seconds after which a new key that says nothing else is due to be rotated.
    default_rotate_every: Mapped[int | None] = mapped_column(Integer)
    #: Seconds that a new key may live at the most.
    max_key_age: Mapped[int | None] = mapped_column(Integer)
    #: Domains that members' addresses may be of, comma-separated.
    email_domains: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)


_ROW: Final = prepare(select(*OrgSettingsRow.__table__.columns).where(OrgSettingsRow.org_id == bindparam("org_id")))


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one organization; None: nothing is settled."""

    #: Names of the scopes of a new key that names none.
    default_scopes: tuple[str, ...] | None = None
    #: How long a new key lives that says nothing else.
    default_lifetime: timedelta | None = None
    #: How often a new key that says nothing else is to be rotated.
    default_rotate_every: timedelta | None = None
    #: How long a new key may live at the most.
    max_key_age: timedelta | None = None
    #: Domains that the addresses of members and of those who are invited may be of.
    email_domains: tuple[str, ...] | None = None


def rules_of(source: Source, org_id: str) -> Rules:
    rows = _ROW.rows(source, {"org_id": org_id})
    if not rows:
        return Rules()
    found = rows[0]
    return Rules(
        default_scopes=_listed(found.default_scopes),
        default_lifetime=_duration(found.default_lifetime),
        default_rotate_every=_duration(found.default_rotate_every),
        max_key_age=_duration(found.max_key_age),
        email_domains=_listed(found.email_domains),
    )


def change_rules(session: AnySession, clock: Clock, actor: Actor, org_id: str, changes: Mapping[str, object]) -> Rules:
    """Change some of the settings; keys and members that are there already stay as they are.

    Args:
        changes: new values by the names of `Rules`.

    Raises:
        Invalid: one of them is not usable, or they contradict each other.
    """
    # One change at a time, or two that each fit would contradict each other.
    session.get(Organization, org_id, populate_existing=True, with_for_update={"key_share": True})
    rules = replace(rules_of(session, org_id), **changes)  # type: ignore[arg-type]
    _check(rules)
    now = clock()
    session.merge(
        OrgSettingsRow(
            org_id=org_id,
            default_scopes=_joined(rules.default_scopes),
            default_lifetime=_seconds(rules.default_lifetime),
            default_rotate_every=_seconds(rules.default_rotate_every),
            max_key_age=_seconds(rules.max_key_age),
            email_domains=_joined(rules.email_domains),
            updated_at=now,
        )
    )
    details = {name: value for name, value in written(rules).items() if name in changes}
    record(session, now, actor, "org.settings_changed", org_id, org_id=org_id, details=details)
    return rules


def written(rules: Rules) -> dict[str, Detail]:
    """Return the settings as they are told: durations as `90d`."""
    told: dict[str, Detail] = {}
    for field in fields(rules):
        value = getattr(rules, field.name)
        told[field.name] = (
            written_duration(value)
            if isinstance(value, timedelta)
            else list(value)
            if isinstance(value, tuple)
            else None
        )
    return told


def refuse_foreign(session: AnySession, org_id: str, email: str) -> None:
    """Make sure that the organization takes members with this address.

    Raises:
        Invalid: it takes only those of other domains.
    """
    domains = rules_of(session, org_id).email_domains
    if domains is not None and email.rpartition("@")[2].lower() not in domains:
        raise Invalid(f"This organization takes members with addresses at {', '.join(domains)} only.", field="email")


def _check(rules: Rules) -> None:
    limit = rules.max_key_age
    if limit is not None and limit < SHORTEST_LIFE:
        raise Invalid("The maximum age of keys is an hour at least, such as 90d.", field="max_key_age")
    for name in ("default_lifetime", "default_rotate_every"):
        value: timedelta | None = getattr(rules, name)
        if value is not None and (value < SHORTEST_LIFE or (limit is not None and value > limit)):
            raise Invalid("It is an hour at least, and no longer than keys may live (max_key_age).", field=name)
    domains = rules.email_domains
    if domains is None:
        return
    if not 0 < len(domains) <= MOST_DOMAINS or not all(_DOMAIN.fullmatch(domain) for domain in domains):
        raise Invalid(
            f"Domains look like example.com, in lower case, {MOST_DOMAINS} at most; null takes all.",
            field="email_domains",
        )


def _duration(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _seconds(duration: timedelta | None) -> int | None:
    return None if duration is None else int(duration.total_seconds())


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


def _joined(items: tuple[str, ...] | None) -> str | None:
    return None if items is None else ",".join(items)
