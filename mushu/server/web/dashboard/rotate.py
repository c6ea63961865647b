"""Rotating a key: how the new one takes its place, and the page on which that is watched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from flask import Response, redirect, request
from werkzeug import Response as BaseResponse

from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.named_destinations import names_of
from mushu.server.errors import Invalid, KeyNotFound, MushuError, WrongState
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import RotationRequest, Terms, find_rotation_of, find_rotation_to
from mushu.server.keys.service import get_key_of
from mushu.server.keys.states import DEAD, State
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.rotate import rotate
from mushu.server.usage import KeyUse
from mushu.server.usage.report import usage_of
from mushu.server.web.dashboard.change import keys_in_use
from mushu.server.web.dashboard.create import REFUSALS, UNNAMED, USED, shown_once, used_form
from mushu.server.web.dashboard.key_form import mark_of_form, new_token
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_context, current_environment, org_page

NOW: Final = "now"
SAME: Final = "same"
#: How long the old key works after the first use of the new one, and in which words.
_SETTLES: Final = {"1h": "an hour", "1d": "a day", "7d": "a week"}
_WAYS: Final = {SAME: DeliveryMode.SERVER, "show": DeliveryMode.RESPONSE}


@org_page(Scope.ADMIN)
def ask_to_rotate(org_id: str, key_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Show how the key can be rotated."""
    return _form_page(key_id, None)


@org_page(Scope.ADMIN)
def rotate_key(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Put a new key in the place of one, and deliver it there or show it; the same form sent again mints nothing."""
    try:
        minted = rotate(current_context(), _request(key_id), _choice())
    except USED:
        return used_form()
    except (*REFUSALS, WrongState) as error:
        return _form_page(key_id, error)
    if minted.secret is not None:
        return shown_once(minted)
    return redirect(to("show_rotation", key_id=key_id), HTTPStatus.SEE_OTHER)


@org_page(Scope.ADMIN)
def show_rotation(org_id: str, key_id: str) -> Response:
    """Show who uses the old key and who the new one, and what is left to happen."""
    now = get_core().clock()
    with reading(db.session):
        found = handover_of(db.session, now, org_id, key_id)
    return page("rotation", found=found, now=now, live=request.args.get("live") != "no")


def _request(key_id: str) -> RotationRequest:
    """Return what is asked for.

    Raises:
        Invalid: a field is not usable.
    """
    old, settle = request.form.get("old", "after"), request.form.get("settle", "1h")
    terms = Terms(settle=parse_duration(settle, "settle"), at_once=old == NOW)
    asked: dict[str, object] = {"key_id": key_id, "old": old, "settle": settle, "way": request.form.get("way", "")}
    return RotationRequest(key_id=key_id, terms=terms, idempotency=mark_of_form("rotate_key_page", asked))


def _choice() -> DeliveryChoice:
    mode = _WAYS.get(request.form.get("way", ""))
    if mode is None:
        raise Invalid("Say where the new key goes: where the old one is, or shown once.", field="way")
    return DeliveryChoice(mode=mode)


def _form_page(key_id: str, error: MushuError | None) -> Response:
    with reading(db.session):
        found = keys_in_use(db.session, get_core().clock(), [key_id])[0]
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    old = request.args.get("old") or request.form.get("old", "after")
    return page("rotate", status, found=found, error=error, old=old, settles=_SETTLES, form_token=new_token())


PAGES: Final = (
    ("GET", "/keys/<key_id>/rotate", ask_to_rotate),
    ("POST", "/keys/<key_id>/rotate", rotate_key),
    ("GET", "/keys/<key_id>/rotation", show_rotation),
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
    #: The new key was deleted before it was used: the old one makes way for nothing.
    is_abandoned: bool

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
    is_over = old.state(now) in (*DEAD, State.EXPIRED)
    is_waiting = rotation.first_used_at is None and deadline is not None and deadline <= now
    return Handover(
        rotation=rotation,
        old=old,
        new=new,
        new_use=of_new.use,
        callers=sorted(callers, key=lambda caller: not caller.is_on_old),
        places=[(names.get(place.uri, UNNAMED), place) for place in places],
        is_over=is_over,
        is_stalled=is_waiting and not is_over,
        is_broken=new.stored_state in DEAD and rotation.handed_over_at is None,
        is_abandoned=new.stored_state in DEAD and rotation.handed_over_at is not None and not is_over,
    )
