"""Organizations: created, looked up, renamed, deleted. Never commits."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import Integer, Select, bindparam, func, or_, select

from mushu.keyformat import public_id
from mushu.server import rate_limits
from mushu.server.audit import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, hold_name
from mushu.server.environments import Source, prepare
from mushu.server.errors import AmbiguousName, Invalid, OrgNotFound, TooManyOrgs
from mushu.server.orgs.invitations import withdraw
from mushu.server.orgs.models import Membership, Organization, OrgInvitation, Role
from mushu.server.paging import Order, Page, Window, ordered_page
from mushu.server.rate_limits import Limit
from mushu.terminal import is_readable

#: Deletes what a resource holds of the organization of this id, in the transaction in which that is deleted.
OrgDeletion: TypeAlias = Callable[[AnySession, Clock, Actor, str], None]

NAME_LENGTH = 200
_SHOWN: Final = prepare(
    select(
        Organization.id, Organization.name, Organization.created_at, Organization.created_by, Organization.limits
    ).where(Organization.id == bindparam("id"), Organization.deleted_at.is_(None))
)
_OF_USER: Final = prepare(
    select(Organization.id, Organization.name, Membership.role)
    .join(Membership, Membership.org_id == Organization.id)
    .where(Membership.user_id == bindparam("user_id"), Organization.deleted_at.is_(None))
    .order_by(Membership.joined_at, Membership.org_id)
    .limit(bindparam("limit", type_=Integer))
)
_DAY: Final = timedelta(days=1)


def create_org(session: AnySession, clock: Clock, actor: Actor, name: str, owner_id: str) -> Organization:
    """Create an organization and make `owner_id` its owner.

    Raises:
        Invalid: the name is empty, too long or not printable.
    """
    now = clock()
    org = Organization(id=public_id("org"), name=checked_name(name), created_at=now, created_by=owner_id)
    session.add(org)
    session.flush()
    session.add(Membership(org_id=org.id, user_id=owner_id, role=Role.OWNER, joined_at=now))
    record(session, now, actor, "org.created", org.id, org_id=org.id, details={"name": org.name, "owner": owner_id})
    return org


def refuse_too_many(session: AnySession, clock: Clock, user_id: str, most: int) -> None:
    """Make sure that the user may own another organization; two that are to be theirs are counted one after the other.

    One that was deleted counts for a day, or making and deleting them would fill the database all the same.

    Raises:
        TooManyOrgs: they own as many as one may.
    """
    hold_name(session, f"organizations of {user_id}")  # not the user, who may act for this organization and wait for it
    owned = select(func.count()).select_from(Membership).join(Organization, Organization.id == Membership.org_id)
    counts = or_(Organization.deleted_at.is_(None), Organization.deleted_at > clock() - _DAY)
    owned = owned.where(Membership.user_id == user_id, Membership.role == Role.OWNER, counts)
    if (session.scalar(owned) or 0) >= most:
        raise TooManyOrgs(
            f"{user_id} owns {most} organizations, which is as many as one may. Delete one and wait a day, or ask an "
            "operator, who can make more."
        )


def find_org(session: AnySession, org_id: str) -> Organization | None:
    """Return the organization as it is now, or None where there is none, or it was deleted."""
    return session.scalars(
        _living().where(Organization.id == org_id).execution_options(populate_existing=True)
    ).one_or_none()


def read_org(source: Source, org_id: str) -> Any:
    """Return what is shown of the organization.

    Raises:
        OrgNotFound: there is none, or it was deleted.
    """
    found = _SHOWN.rows(source, {"id": org_id})
    if not found:
        raise OrgNotFound(f"There is no organization {org_id!r}, or this credential may not see it.")
    return found[0]


def get_org(session: AnySession, org_id: str) -> Organization:
    """Return the organization.

    Raises:
        OrgNotFound: there is none, or it was deleted.
    """
    org = find_org(session, org_id)
    if org is None:
        raise OrgNotFound(f"There is no organization {org_id!r}, or this credential may not see it.")
    return org


def lock_org(session: AnySession, org_id: str) -> Organization:
    """Return the organization, for whoever deletes it: nobody acts for it until this transaction ends.

    Raises:
        OrgNotFound: there is none, or it was deleted.
    """
    session.execute(select(Organization.id).where(Organization.id == org_id).with_for_update())
    return get_org(session, org_id)


def resolve_org(session: AnySession, id_or_name: str | None) -> Organization:
    """Return the organization with this id, or else with exactly this name; the only one where none is named.

    Raises:
        OrgNotFound: neither; or none is named, and there is not exactly one.
        AmbiguousName: several have the name; the message lists their ids.
    """
    if id_or_name is None:
        found = session.scalars(_living().limit(2)).all()
        if len(found) == 1:
            return found[0]
        raise OrgNotFound("Which organization? Name it, or set MUSHU_ORG_ID. `flask orgs list` shows all.", field="org")
    org = find_org(session, id_or_name)
    if org is not None:
        return org
    named = session.scalars(_living().where(Organization.name == id_or_name)).all()
    if not named:
        raise OrgNotFound(f"There is no organization {id_or_name!r}. `flask orgs list` shows them all.", field="org")
    if len(named) > 1:
        ids = ", ".join(org.id for org in named)
        raise AmbiguousName(f"{len(named)} organizations are named {id_or_name!r}. Use an id: {ids}.", field="org")
    return named[0]


def list_orgs(session: AnySession, window: Window) -> Page[Organization]:
    """Return a page of all organizations, oldest first: for operators."""
    return ordered_page(session, _living(), Order((Organization.created_at, Organization.id)), window)


def list_orgs_of_user(session: AnySession, user_id: str, window: Window) -> Page[Organization]:
    """Return a page of the organizations that the user belongs to, in the order in which the user became a member."""
    living = Organization.deleted_at.is_(None)
    mine = select(Membership).join(Organization, Membership.org_id == Organization.id).where(living)
    order = Order((Membership.joined_at, Membership.org_id))
    found = ordered_page(session, mine.where(Membership.user_id == user_id), order, window)
    orgs = select(Organization).where(Organization.id.in_([one.org_id for one in found.rows]))
    by_id = {org.id: org for org in session.scalars(orgs)}
    return found.shown(lambda one: by_id[one.org_id])


def read_orgs_of_user(source: Source, user_id: str, most: int) -> Sequence[Any]:
    """Return the id and the name of organizations of the user, and the role in each, in the same order."""
    return _OF_USER.rows(source, {"user_id": user_id, "limit": most})


def rename_org(session: AnySession, clock: Clock, actor: Actor, org: Organization, name: str) -> Organization:
    """Give the organization another name.

    Raises:
        Invalid: the name is empty, too long or not printable.
    """
    former, org.name = org.name, checked_name(name)
    record(session, clock(), actor, "org.renamed", org.id, org_id=org.id, details={"from": former, "to": org.name})
    return org


def limit_org(
    session: AnySession, clock: Clock, actor: Actor, org: Organization, limits: Sequence[Limit]
) -> Organization:
    """Change how often all keys of the organization together may be used; for operators, who serve it."""
    org.limits = rate_limits.stored(limits)
    details: dict[str, Detail] = {"limits": [*map(str, limits)]}
    record(session, clock(), actor, "org.limited", org.id, org_id=org.id, details=details)
    return org


def delete_org(session: AnySession, clock: Clock, actor: Actor, org: Organization) -> None:
    """Delete the organization and withdraw its invitations. Its keys are the caller's to delete, in the transaction.

    Args:
        org: as `lock_org` returned it.
    """
    org.deleted_at = clock()
    withdraw(session, clock, actor, OrgInvitation.org_id == org.id, "org.deleted")
    record(session, org.deleted_at, actor, "org.deleted", org.id, org_id=org.id, details={"name": org.name})


def checked_name(name: str) -> str:
    """Return `name` without white space around it.

    Raises:
        Invalid: it is empty, longer than 200 characters, or holds invisible ones.
    """
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or not is_readable(name):
        raise Invalid(f"The name must have 1 to {NAME_LENGTH} characters, none of them invisible.", field="name")
    return name


def _living() -> Select[Organization]:
    return select(Organization).where(Organization.deleted_at.is_(None))
