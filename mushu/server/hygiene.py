"""What is known of keys besides their rows: where they are, who made them, how they are used, and what is wrong.

Hygiene is the part of it that somebody should look at: keys that nobody uses, or whose owner has left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, extract, func, literal, or_, select

from mushu.server.db import AnySession, UTCDateTime
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.keys.models import IS_NAMED, IS_OPEN, ApiKey, Rotation
from mushu.server.keys.selection import Given, Selection, as_given
from mushu.server.keys.service import list_keys
from mushu.server.keys.states import State
from mushu.server.orgs.models import Membership
from mushu.server.paging import ComputedOrder, Folded, Page, Window, computed_page
from mushu.server.usage import KeyUse
from mushu.server.usage.engine import reading_with_usage
from mushu.server.users.models import User

_WRONG: Final = (Condition.DRIFTED, Condition.MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hygiene:
    """What the keys are that are asked for; all that is given applies."""

    #: Active at some time, and never used.
    unused: bool = False
    #: Older than that, and not used for so long.
    idle: timedelta | None = None
    #: Used within that time until now.
    used_within: timedelta | None = None
    #: Ends within that time from now.
    expires_within: timedelta | None = None
    #: Has no end.
    no_expiry: bool = False
    #: A destination holds something else, or nothing, as it was last looked at.
    drifted: bool = False
    #: Lives on past the deadline of its rotation, for its successor was never used.
    stalled: bool = False
    #: The user who created it, or last rotated it, is disabled or no member any more.
    owner_left: bool = False
    #: The user who created it, or last rotated it, by id or e-mail address.
    created_by: str | None = None
    #: The URIs of a destination that holds it.
    at: Sequence[str] | None = None

    @property
    def is_asked(self) -> bool:
        return self != Hygiene()

    @property
    def is_of_use(self) -> bool:
        """Whether uses have to be known."""
        return self.unused or self.idle is not None or self.used_within is not None

    def conditions(self, now: datetime, org_id: str) -> tuple[ColumnElement[bool], ...]:
        """Return what the keys of an organization are; where it is of their use, for `reading_with_usage`."""
        return self.conditions_on(Compared(org_id, int(now.timestamp()), lambda delta: now + delta))

    def conditions_on(self, compared: "Compared") -> tuple[ColumnElement[bool], ...]:
        """Return the same where what is compared with may be parameters of a statement."""
        return (*self._of_use(compared), *self._of_rows(compared), *self._of_people(compared))

    def _of_use(self, compared: "Compared") -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.unused:
            found += [ApiKey.activated_at.is_not(None), ~exists().where(KeyUse.key_id == ApiKey.id)]
        if self.idle is not None:
            since = compared.at(-self.idle)
            found += [ApiKey.created_at <= since, ~_is_used_after(since, strictly=True)]
        if self.used_within is not None:
            found.append(_is_used_after(compared.at(-self.used_within)))
        return found

    def _of_rows(self, compared: "Compared") -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.expires_within is not None:
            end = compared.at(self.expires_within)
            found += [ApiKey.expires_at > compared.at(timedelta()), ApiKey.expires_at <= end]
        if self.no_expiry:
            found.append(ApiKey.expires_at.is_(None))
        if self.drifted:
            found.append(_is_held(Delivery.condition.in_(_WRONG)))
        if self.at is not None:
            found.append(_is_held(Delivery.uri.in_(compared.given("at", self.at))))
        if self.stalled:
            waiting = (Rotation.handed_over_at.is_not(None), Rotation.first_used_at.is_(None), IS_OPEN)
            # Whole seconds: what is overdue may be told a second late, never early.
            deadline = extract("epoch", Rotation.handed_over_at) + Rotation.deadline_seconds
            overdue = (*waiting, deadline < compared.seconds)
            found += [
                ApiKey.stored_state == State.RETIRING,
                exists().where(Rotation.predecessor_id == ApiKey.id, *overdue),
            ]
        return found

    def _of_people(self, compared: "Compared") -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.owner_left:
            members = select(Membership.user_id).join(User, User.id == Membership.user_id)
            members = members.where(Membership.org_id == compared.org_id, User.disabled_at.is_(None))
            found += [ApiKey.created_by.is_not(None), ApiKey.created_by.not_in(members)]
        if self.created_by is not None:
            creator, email = compared.given("creator", self.created_by), self.created_by.strip().lower()
            named = or_(User.id == creator, User.email == compared.given("email", email))
            found.append(ApiKey.created_by == select(User.id).where(named).limit(1).scalar_subquery())
        return found


def _is_used_after(moment: Any, *, strictly: bool = False) -> ColumnElement[bool]:
    after = KeyUse.last_used_at > moment if strictly else KeyUse.last_used_at >= moment
    return exists().where(KeyUse.key_id == ApiKey.id, after)


def _is_held(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Delivery.key_id == ApiKey.id, Delivery.state == DeliveryState.VERIFIED, condition)


@dataclass(frozen=True, slots=True)
class Compared:
    """What conditions compare with: values of a moment, or parameters that stand for them."""

    org_id: Any
    #: Of the moment, since 1970.
    seconds: Any
    #: Returns what is so much later than the moment.
    at: Callable[[timedelta], Any]
    #: Returns what stands for a text, or for a list of them.
    given: Given = as_given


_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_PLACE: Final = "place"  # once by its name: what it is computed from is not computed twice
_LAST_USED_AT: Final = select(KeyUse.last_used_at).where(KeyUse.key_id == ApiKey.id).scalar_subquery()


class Sort(StrEnum):
    """What a list of keys is ordered by."""

    #: Newest first.
    CREATED = "created"
    #: A to Z, whatever the capitals.
    NAME = "name"
    #: The latest first, and keys that were never used after all others.
    LAST_USED = "last_used"
    #: The soonest first, and keys without an end after all others.
    EXPIRES = "expires"


ORDERS: Final[dict[Sort, ComputedOrder]] = {
    Sort.NAME: ComputedOrder((Folded(ApiKey.name).label(_PLACE), ApiKey.id)),
    Sort.LAST_USED: ComputedOrder(
        (func.coalesce(_LAST_USED_AT, literal(_FIRST, UTCDateTime), type_=UTCDateTime).label(_PLACE), ApiKey.id),
        descending=True,
    ),
    Sort.EXPIRES: ComputedOrder(
        (func.coalesce(ApiKey.expires_at, literal(_LAST, UTCDateTime), type_=UTCDateTime).label(_PLACE), ApiKey.id)
    ),
}


def list_keys_to_look_at(
    session: AnySession,
    now: datetime,
    org_id: str,
    selection: Selection,
    hygiene: Hygiene,
    window: Window,
    sort: Sort = Sort.CREATED,
) -> Page[ApiKey]:
    """Return a page of an organization's keys.

    Newest first, and by name where nothing is filtered, a page is read in the order of an index. Any other order looks
    at all keys that are meant.

    Raises:
        Invalid: the cursor is not one of ours, or what is searched is a whole key.
        DatabaseUnavailable: the use of keys has to be known, and cannot be read.
    """
    selection = replace(selection, conditions=(*by_index(selection, hygiene, sort), *hygiene.conditions(now, org_id)))
    if not hygiene.is_of_use and sort is not Sort.LAST_USED:
        return _page(session, org_id, selection, window, sort)
    with reading_with_usage(session) as both:
        return _page(both, org_id, selection, window, sort)


def by_index(selection: Selection, hygiene: Hygiene, sort: Sort) -> tuple[ColumnElement[bool], ...]:
    """Return the condition with which keys are read in the order of an index, where that is faster.

    Where keys are filtered, few may be left: to look at all in the order of the table is faster then.
    """
    whole = not hygiene.is_asked and selection == Selection(selection.environments, selection.with_deleted)
    return (IS_NAMED,) if whole and sort is Sort.NAME else ()


def _page(session: AnySession, org_id: str, selection: Selection, window: Window, sort: Sort) -> Page[Any]:
    if sort is Sort.CREATED:
        return list_keys(session, org_id, selection, window)
    query = select(ApiKey).where(*selection.criteria(org_id))
    queries = [query.where(ApiKey.environment == environment) for environment in selection.environments]
    return computed_page(session, queries, ORDERS[sort], window)
