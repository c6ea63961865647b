"""The page of a rotation: who uses which key, what is left to happen, and more time for the old one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from flask import Response, flash, redirect, request
from werkzeug import Response as BaseResponse

from mushu.server.clock import parse_moment, rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.named_destinations import names_of
from mushu.server.errors import Invalid, KeyNotFound, MushuError, WrongState
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.retirement import latest_end
from mushu.server.keys.rotation import find_rotation_of, find_rotation_to
from mushu.server.keys.service import get_key_of
from mushu.server.keys.states import DEAD, State
from mushu.server.lifecycle.change import extend
from mushu.server.usage import KeyUse
from mushu.server.usage.report import usage_of
from mushu.server.web.dashboard.destination_rows import place_called
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_context, current_environment, current_org, org_page

#: How much longer the old key may work, and in which words.
_MORE: Final = (
    (timedelta(hours=1), "1 more hour"),
    (timedelta(hours=6), "6 more hours"),
    (timedelta(days=1), "1 more day"),
)
_OVER: Final = (*DEAD, State.EXPIRED)


@org_page(Scope.ADMIN)
def show_rotation(org_id: str, key_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Show who uses the old key and who the new one, and what is left to happen."""
    return _rotation_page(key_id, None)


@org_page(Scope.ADMIN)
def extend_key(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Let the old key work longer; the form says until when, so that the same form sent again changes nothing."""
    try:
        until = parse_moment(request.form.get("until", ""), get_core().clock(), "until")
        key = extend(current_context(), key_id, until)
    except (Invalid, WrongState) as error:
        return _rotation_page(key_id, error)
    flash(f"The old key of {key.name} works until {rfc3339(until)}.")
    return redirect(to("show_rotation", key_id=key_id), HTTPStatus.SEE_OTHER)


def _rotation_page(key_id: str, error: MushuError | None) -> Response:
    now = get_core().clock()
    with reading(db.session):
        found = handover_of(db.session, now, current_org(), key_id)
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return page("rotation", status, found=found, now=now, live=request.args.get("live") != "no", error=error)


PAGES: Final = (
    ("GET", "/keys/<key_id>/rotation", show_rotation),
    ("POST", "/keys/<key_id>/extend", extend_key),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An address, and which of the two keys it used when."""

    address: str
    old_last: datetime | None
    new_first: datetime | None
    new_last: datetime | None

    @property
    def is_on_old(self) -> bool:
        """Whether it used the old key last."""
        return self.old_last is not None and (self.new_last is None or self.new_last < self.old_last)


@dataclass(frozen=True, slots=True)
class Handover:
    """A rotation, its two keys, and how they are used."""

    rotation: Rotation
    old: ApiKey
    new: ApiKey
    new_use: KeyUse | None
    #: Those that used the old key last come first.
    callers: Sequence[Caller]
    #: Where the new key was put, and what these destinations are called.
    places: Sequence[tuple[str, Delivery]]
    is_over: bool
    is_stalled: bool
    #: The new key could not be delivered, and the old one is as it was.
    is_broken: bool
    is_new_over: bool
    #: Until when the old key can be given more time at the latest, and why no longer; None where it has no end yet.
    latest: tuple[datetime, str] | None

    @property
    def is_abandoned(self) -> bool:
        """Whether the new key is over while the old one works: that one makes way for nothing."""
        return self.is_new_over and self.rotation.handed_over_at is not None and not self.is_over

    @property
    def more_time(self) -> list[tuple[datetime, str]]:
        """Moments until which the old key can be given more time, and in which words."""
        end = self.old.retires_at
        if end is None or self.latest is None:
            return []
        return [(end + longer, words) for longer, words in _MORE if end + longer <= self.latest[0]]

    @property
    def waiting(self) -> list[str]:
        """Addresses that use the old key."""
        return [caller.address for caller in self.callers if caller.is_on_old]


def handover_of(session: AnySession, now: datetime, org_id: str, key_id: str) -> Handover:
    """Return the rotation in which a key made way or took over, in the caller's transaction.

    Raises:
        KeyNotFound: there is no such key, or it was in no rotation.
    """
    key = get_key_of(session, org_id, current_environment(), key_id, with_deleted=True)
    rotation = find_rotation_of(session, key.id) or find_rotation_to(session, key.id)
    if rotation is None:
        raise KeyNotFound(f"{key.id} is in no rotation.")
    old, new = (
        get_key_of(session, org_id, current_environment(), one, with_deleted=True)
        for one in (rotation.predecessor_id, rotation.successor_id)
    )
    of_old, of_new = usage_of(session, now, old), usage_of(session, now, new)
    places = ledger.places_of(session, new.id)
    names = names_of(session, [place.uri for place in places], org_id)
    before = {seen.source: seen for seen in of_old.addresses}
    after = {seen.source: seen for seen in of_new.addresses}
    callers = [
        Caller(
            address,
            before[address].last_seen_at if address in before else None,
            after[address].first_seen_at if address in after else None,
            after[address].last_seen_at if address in after else None,
        )
        for address in sorted({*before, *after})
    ]
    deadline = rotation.deadline_at
    is_over = old.state(now) in _OVER
    is_waiting = rotation.first_used_at is None and deadline is not None and deadline <= now
    return Handover(
        rotation=rotation,
        old=old,
        new=new,
        new_use=of_new.use,
        callers=sorted(callers, key=lambda caller: not caller.is_on_old),
        places=[(place_called(place.uri, names), place) for place in places],
        is_over=is_over,
        is_stalled=is_waiting and not is_over,
        is_broken=new.stored_state in DEAD and rotation.handed_over_at is None,
        is_new_over=new.state(now) in _OVER,
        latest=latest_end(session, now, old) if old.retires_at is not None and not is_over else None,
    )
