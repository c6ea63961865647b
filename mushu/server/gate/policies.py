"""Policies: what the gate asks on behalf of another service, under a name that the service's proxy sends.

A name is given once. A removed one denies for good, so that an old configuration of a proxy never gets a new meaning.
Operators add and remove them; `gate/decision.py` asks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Integer, String, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from mushu.environment import Environment
from mushu.server import rate_limits
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.environments import Source, prepare
from mushu.server.errors import Invalid, NameTaken, PolicyNotFound
from mushu.server.keys import Scope
from mushu.server.orgs.service import get_org
from mushu.server.paging import Order, Page, Window, ordered_page
from mushu.server.rate_limits import Limit

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class OverLimit(IntEnum):
    """The status of an answer where a limit of a policy is reached; nginx makes 500 of any but 401 and 403."""

    FORBIDDEN = 403
    TOO_MANY_REQUESTS = 429


class PolicyRow(Base):
    """One policy. Rows are never deleted."""

    __tablename__ = "policies"
    __table_args__ = (
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        # A CLI token has scopes within an organization only.
        CheckConstraint("org_id IS NOT NULL OR NOT cli_tokens", name="cli_tokens"),
    )

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: Whose credentials pass; None: those of any organization.
    org_id: Mapped[str | None] = mapped_column(ForeignKey("organizations.id"))
    environment: Mapped[str] = mapped_column(String(8))
    scope: Mapped[str] = mapped_column(String(8))
    cli_tokens: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Who added it, as `operator root`.
    created_by: Mapped[str] = mapped_column(String(160))
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: How often all that pass may pass together, as `10/second;1000/day` (`rate_limits`).
    limits: Mapped[str | None] = mapped_column(String(120))
    #: The status of the answer where a limit is reached: 403, or 429.
    over_limit: Mapped[int] = mapped_column(Integer, server_default="403")


_LIVING: Final = prepare(
    select(
        PolicyRow.name, PolicyRow.org_id, PolicyRow.environment, PolicyRow.scope, PolicyRow.cli_tokens,
        PolicyRow.limits, PolicyRow.over_limit,
    ).where(PolicyRow.name == bindparam("name"), PolicyRow.removed_at.is_(None))
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """What a new policy asks for."""

    name: str
    scope: Scope
    #: None only where `any_org` says that it is meant.
    org_id: str | None
    any_org: bool = False
    environment: Environment = Environment.LIVE
    #: Whether CLI tokens pass, with the scopes that their user has in the organization.
    cli_tokens: bool = False
    limits: tuple[Limit, ...] = ()
    over_limit: OverLimit = OverLimit.FORBIDDEN


def add_policy(session: AnySession, clock: Clock, actor: Actor, wanted: PolicyRequest) -> PolicyRow:
    """Add a policy.

    Raises:
        Invalid: the name is not usable, or what is asked for contradicts itself.
        OrgNotFound: there is no such organization.
        NameTaken: there is a policy of this name, or there was one.
    """
    _check(wanted)
    if wanted.org_id is not None:
        get_org(session, wanted.org_id)
    if session.get(PolicyRow, wanted.name) is not None:
        raise _taken(wanted.name)
    policy = PolicyRow(
        name=wanted.name,
        org_id=wanted.org_id,
        environment=wanted.environment,
        scope=wanted.scope,
        cli_tokens=wanted.cli_tokens,
        created_at=clock(),
        created_by=str(actor),
        removed_at=None,
        limits=rate_limits.stored(wanted.limits),
        over_limit=wanted.over_limit,
    )
    session.add(policy)
    try:
        session.flush()
    except IntegrityError:  # where transactions that write do not wait for each other, as on PostgreSQL
        raise _taken(wanted.name) from None
    _record(session, clock, actor, "policy.added", policy)
    return policy


def find_policy(source: Source, name: str) -> Any | None:
    """Return what the policy of this name asks for; None where there is none, or not any more."""
    found = _LIVING.rows(source, {"name": name}) if _NAME.fullmatch(name) else ()
    return found[0] if found else None


def get_policy(session: AnySession, name: str) -> PolicyRow:
    """Return the policy, also a removed one.

    Raises:
        PolicyNotFound: there never was one of this name.
    """
    policy = session.get(PolicyRow, name)
    if policy is None:
        raise PolicyNotFound(f"There is no policy {name!r}. `flask policies list` shows them all.", field="name")
    return policy


def list_policies(session: AnySession, window: Window) -> Page[PolicyRow]:
    """Return a page of the policies that were not removed, by name."""
    return ordered_page(
        session, select(PolicyRow).where(PolicyRow.removed_at.is_(None)), Order((PolicyRow.name,)), window
    )


def limit_policy(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    name: str,
    limits: Sequence[Limit] | None = None,
    over_limit: int | None = None,
) -> PolicyRow:
    """Change how often a policy lets pass, and what it answers beyond that; None leaves it as it is.

    Raises:
        PolicyNotFound: there is none of this name, or not any more.
        Invalid: nothing is to change.
    """
    if limits is None and over_limit is None:
        raise Invalid("Say what is to change: limits, over_limit, or both.", field="limits")
    policy = _living(session, name)
    policy.limits = policy.limits if limits is None else rate_limits.stored(limits)
    policy.over_limit = policy.over_limit if over_limit is None else over_limit
    details: dict[str, Detail] = {"limits": rate_limits.written(policy.limits) or [], "over_limit": policy.over_limit}
    record(session, clock(), actor, "policy.limited", policy.name, org_id=policy.org_id, details=details)
    return policy


def remove_policy(session: AnySession, clock: Clock, actor: Actor, name: str) -> PolicyRow:
    """Have the policy deny everybody from now on, for good.

    Raises:
        PolicyNotFound: there is none of this name, or not any more.
    """
    policy = _living(session, name)
    policy.removed_at = clock()
    _record(session, clock, actor, "policy.removed", policy)
    return policy


def shown(policy: PolicyRow) -> dict[str, Any]:
    """Return what is told of a policy, over HTTP and by commands."""
    limits = rate_limits.written(policy.limits)
    removed = {"removed_at": rfc3339(policy.removed_at)} if policy.removed_at is not None else {}
    limited: dict[str, Any] = {"limits": limits} if limits is not None else {}
    if limits is not None or policy.over_limit != OverLimit.FORBIDDEN:
        limited["over_limit"] = policy.over_limit
    return (
        {
            "name": policy.name,
            "org_id": policy.org_id,
            "environment": policy.environment,
            "scope": policy.scope,
            "cli_tokens": policy.cli_tokens,
            "created_at": rfc3339(policy.created_at),
        }
        | limited
        | removed
    )


def _living(session: AnySession, name: str) -> PolicyRow:
    policy = get_policy(session, name)
    if policy.removed_at is not None:
        raise PolicyNotFound(f"The policy {name!r} was removed already.", field="name")
    return policy


def _check(wanted: PolicyRequest) -> None:
    if not _NAME.fullmatch(wanted.name):
        raise Invalid("A name has 1 to 63 of a-z, 0-9 and -, and does not begin with -.", field="name")
    if (wanted.org_id is None) != wanted.any_org:
        raise Invalid("Name one organization, or say that keys of any organization pass; not both.", field="org_id")
    if wanted.any_org and wanted.cli_tokens:
        raise Invalid(
            "A CLI token has scopes within an organization only. Name the organization, or let no CLI tokens pass.",
            field="cli_tokens",
        )


def _taken(name: str) -> NameTaken:
    return NameTaken(
        f"There is, or was, a policy {name}. A name is given once, so that no proxy gets another policy under it. "
        "Choose another name.",
        field="name",
    )


def _record(session: AnySession, clock: Clock, actor: Actor, action: str, policy: PolicyRow) -> None:
    asked: dict[str, Detail] = {
        "environment": policy.environment,
        "scope": policy.scope,
        "cli_tokens": policy.cli_tokens,
    }
    if policy.limits is not None:
        asked |= {"limits": rate_limits.written(policy.limits), "over_limit": policy.over_limit}
    record(session, clock(), actor, action, policy.name, org_id=policy.org_id, details=asked)
