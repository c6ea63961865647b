"""Hygiene: the keys that somebody should look at, such as those that nobody uses, or whose owner has left."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, exists

from mushu.server.db import AnySession
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.keys.models import IS_OPEN, ApiKey, Rotation
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.keys.service import Selection, list_keys
from mushu.server.keys.states import State
from mushu.server.orgs.models import Membership
from mushu.server.paging import Page, Window
from mushu.server.usage import uses_of
from mushu.server.users.models import User

#: Pages of keys that one page is looked for in; one that finds fewer says where to go on.
_MOST_PAGES: Final = 20
_WRONG: Final = (Condition.DRIFTED, Condition.MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hygiene:
    """What the keys are that are asked for; all that is given applies."""

    #: Active at some time, and never used.
    unused: bool = False
    #: Older than that, and not used for so long.
    idle: timedelta | None = None
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

    @property
    def is_asked(self) -> bool:
        return self != Hygiene()

    def conditions(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        """Return what the database of the keys can decide."""
        found: list[ColumnElement[bool]] = []
        if self.unused:
            found.append(ApiKey.activated_at.is_not(None))
        if self.idle is not None:
            found.append(ApiKey.created_at <= now - self.idle)
        if self.expires_within is not None:
            found += [ApiKey.expires_at > now, ApiKey.expires_at <= now + self.expires_within]
        if self.no_expiry:
            found.append(ApiKey.expires_at.is_(None))
        if self.drifted:
            held = (Delivery.state == DeliveryState.VERIFIED, Delivery.condition.in_(_WRONG))
            found.append(exists().where(Delivery.key_id == ApiKey.id, *held))
        if self.stalled:
            waiting = (Rotation.handed_over_at.is_not(None), Rotation.first_used_at.is_(None), IS_OPEN)
            found += [
                ApiKey.stored_state == State.RETIRING,
                exists().where(Rotation.predecessor_id == ApiKey.id, *waiting),
            ]
        if self.owner_left:
            mine = (Membership.org_id == ApiKey.org_id, Membership.user_id == ApiKey.created_by)
            member = exists().where(*mine, User.id == Membership.user_id, User.disabled_at.is_(None))
            found += [ApiKey.created_by.is_not(None), ~member]
        return tuple(found)

    def among(self, session: AnySession, now: datetime, keys: Sequence[ApiKey]) -> Sequence[ApiKey]:
        """Return those of some keys, which meet the conditions, that are asked for."""
        if self.stalled:
            overdue = {
                rotation.predecessor_id
                for rotation in list_rotations_among(session, [key.id for key in keys])
                if rotation.first_used_at is None and rotation.deadline_at is not None and rotation.deadline_at <= now
            }
            keys = [key for key in keys if key.id in overdue]
        if self.unused or self.idle is not None:
            uses = uses_of(session, [key.id for key in keys])
            if self.unused:
                keys = [key for key in keys if key.id not in uses]
            if self.idle is not None:
                last = now - self.idle
                keys = [key for key in keys if key.id not in uses or uses[key.id].last_used_at <= last]
        return keys


def list_keys_to_look_at(
    session: AnySession, now: datetime, org_id: str, selection: Selection, hygiene: Hygiene, window: Window
) -> Page[ApiKey]:
    """Return a page of an organization's keys, newest first; it may be short, or empty, where it is not the last.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    selection = replace(selection, conditions=hygiene.conditions(now))
    for _ in range(_MOST_PAGES):
        page = list_keys(session, org_id, selection, window)
        rows = hygiene.among(session, now, page.rows)
        if rows or page.next_cursor is None:
            break
        window = replace(window, cursor=page.next_cursor)
    return Page(rows, page.next_cursor)
