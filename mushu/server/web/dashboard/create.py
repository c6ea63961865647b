"""Creating a key: the form, once for each key; the one answer that shows a key; the page of one that was delivered."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Self

from flask import Response, flash, redirect, render_template, request
from humanize import naturaldelta
from werkzeug import Response as BaseResponse

from mushu.duration import written_duration
from mushu.server import answers, destinations
from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.named_destinations import living_at, names_of
from mushu.server.errors import (
    AlreadyCreated,
    DeliveryFailed,
    DestinationHeld,
    DestinationNotFound,
    IdempotencyMismatch,
    Invalid,
    MushuError,
)
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import DEFAULT_SCOPES, Scope, parse_scopes
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import find_rotation_to
from mushu.server.keys.service import get_key_of
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.orgs.settings import Rules, rules_of
from mushu.server.paging import Window
from mushu.server.usage import uses_of
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.error_pages import Way
from mushu.server.web.guard import current_context, current_environment, current_org, org_page

#: What is wrong with a form, and leaves no key behind.
REFUSALS: Final = (Invalid, DestinationHeld, DestinationNotFound, DeliveryFailed)
#: The form was sent before, as it is or otherwise.
USED: Final = (AlreadyCreated, IdempotencyMismatch)
DELIVER: Final = "deliver"
SHOW: Final = "show"
#: What a form says for a key without an end, or one that nothing rotates.
NEVER: Final = "never"
#: Destinations that the form offers.
_OFFERED: Final = 200
_SHORTEST_TOKEN: Final = 22
_LIVES: Final = tuple(timedelta(days=days) for days in (7, 30, 90, 180, 365))
_INTERVALS: Final = tuple(timedelta(days=days) for days in (30, 60, 90))
_USUAL: Final = timedelta(days=90)
#: What each scope permits.
PERMITS: Final = {
    Scope.READ: "See organizations, tenants, devices, notifications, media and its own usage.",
    Scope.WRITE: "Register devices, upload and delete media, send notifications.",
    Scope.ADMIN: (
        "Create and delete tenants, manage keys, members and settings, read the audit log. For tools that manage, not "
        "for services."
    ),
}
#: A URI names a file of the server, which is not for everybody.
UNNAMED: Final = "a destination without a name"


def new_token() -> str:
    """Return what one form has and no other: a key is minted once for it."""
    return secrets.token_urlsafe(24)


def picked(kind: str) -> tuple[str, ...]:
    """Return what is ticked of one kind: each box has a field of its own, as no field may be sent twice."""
    return tuple(name.partition(".")[2] for name in request.form if name.startswith(f"{kind}."))


def mark_of_form(operation: str, asked: dict[str, object]) -> IdempotencyMark:
    """Return the mark of the form that was sent.

    Raises:
        Invalid: it has no token, so it is from no page of ours.
    """
    token = request.form.get("form_token", "")
    if len(token) < _SHORTEST_TOKEN:
        raise Invalid("This form is not whole. Open the page again, and send it from there.", field="form_token")
    return IdempotencyMark.of(token, (current_org(), current_environment(), operation), asked)


@dataclass(frozen=True, slots=True)
class OfferedPlace:
    """A destination that a new key may go to."""

    name: str
    scheme: str
    #: A key that is there.
    holder: ApiKey | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What an organization offers for a new key."""

    places: Sequence[OfferedPlace]
    rules: Rules

    @property
    def lives(self) -> dict[str, str]:
        """Return how long the key may live, and in which words; the longest that is allowed is the last."""
        most, usual = self.rules.max_key_age, self.rules.default_lifetime
        lives = {life for life in (*_LIVES, usual, most) if life is not None and life <= (most or life)}
        found = {written_duration(life): f"in {_in_words(life)}" for life in sorted(lives)}
        if most is not None:
            found[written_duration(most)] += " (the most)"
        return found if most is not None or usual is not None else found | {NEVER: "never"}

    @property
    def intervals(self) -> dict[str, str]:
        """Return how often the key may be rotated, and in which words."""
        usual = self.rules.default_rotate_every
        found = {written_duration(each): f"every {_in_words(each)}" for each in sorted({*_INTERVALS, usual or _USUAL})}
        return found if usual is not None else found | {NEVER: "never"}

    @property
    def limit(self) -> str:
        """Return what the organization allows, as a sentence."""
        most = self.rules.max_key_age
        return (
            "The organization sets no limit." if most is None else f"The organization allows {_in_words(most)} at most."
        )

    def suggested(self) -> "KeyForm":
        """Return the form as it is first shown."""
        rules, lives = self.rules, self.lives
        life = written_duration(rules.default_lifetime or min(_USUAL, rules.max_key_age or _USUAL))
        every = rules.default_rotate_every
        return KeyForm(
            way=DELIVER if any(place.holder is None for place in self.places) else SHOW,
            scopes=tuple(rules.default_scopes or DEFAULT_SCOPES),
            expires=life if life in lives else next(reversed(lives)),
            rotate_every=written_duration(every) if every is not None else NEVER,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForm:
    """What the form holds."""

    name: str = ""
    way: str = DELIVER
    to: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires: str = NEVER
    rotate_every: str = NEVER
    token: str = field(default_factory=new_token, compare=False)

    @classmethod
    def sent(cls) -> Self:
        """Return the form that was sent, with a token for the next one."""
        form = request.form
        return cls(
            name=form.get("name", ""),
            way=form.get("way", ""),
            to=picked("to"),
            scopes=picked("scope"),
            expires=form.get("expires", NEVER),
            rotate_every=form.get("rotate_every", NEVER),
        )

    def request(self, now: datetime) -> KeyRequest:
        """Return what is asked for.

        Raises:
            Invalid: a field is not usable; nothing was minted.
        """
        asked = {part.name: getattr(self, part.name) for part in fields(self) if part.compare}
        return KeyRequest(
            org_id=current_org(),
            name=self.name,
            scopes=parse_scopes(self.scopes),
            environment=current_environment(),
            expires_at=now + parse_duration(self.expires, "expires") if self.expires != NEVER else None,
            rotate_every=parse_duration(self.rotate_every, "rotate_every") if self.rotate_every != NEVER else None,
            idempotency=mark_of_form("create_key_page", asked),
        )

    @property
    def choice(self) -> DeliveryChoice:
        """How the key is to be delivered.

        Raises:
            Invalid: the form does not say.
        """
        if self.way == SHOW:
            return DeliveryChoice(mode=DeliveryMode.RESPONSE)
        if self.way != DELIVER or not self.to:
            raise Invalid("Pick at least one destination, or have the key shown once.", field="to")
        return DeliveryChoice(mode=DeliveryMode.SERVER, names=self.to)


def _in_words(length: timedelta) -> str:
    return str(naturaldelta(length, months=False))


def offer_of(session: AnySession, org_id: str) -> Offer:
    """Return what the organization offers in the environment of the session, in the caller's transaction."""
    found = destinations.list_destinations(session, org_id, Window(_OFFERED)).rows
    holders = living_at(session, [place.uri for place in found])
    places = [
        OfferedPlace(one.name, one.uri.partition(":")[0], next(iter(holders.get(one.uri, ())), None)) for one in found
    ]
    return Offer(places, rules_of(session, org_id))


@org_page(Scope.ADMIN)
def ask_for_key(org_id: str) -> Response:
    """Show the form of a new key."""
    return _form_page(org_id, None)


@org_page(Scope.ADMIN)
def create_key(org_id: str) -> BaseResponse:
    """Create a key, and deliver it or show it in this one answer; the same form sent again mints nothing."""
    form = KeyForm.sent()
    try:
        minted = issue(current_context(), form.request(get_core().clock()), form.choice)
    except USED:
        return used_form()
    except REFUSALS as error:
        return _form_page(org_id, form, error)
    if minted.secret is not None:
        return shown_once(minted)
    return redirect(to("show_delivered", key_id=minted.key.id), HTTPStatus.SEE_OTHER)


@org_page(Scope.ADMIN)
def put_away(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Lead on from a key that was shown once; one that was lost is deleted, or rotated where it took a place."""
    if "lost" not in request.form:
        return redirect(to("show_key", key_id=key_id), HTTPStatus.SEE_OTHER)
    with reading(db.session):
        took_a_place = find_rotation_to(db.session, key_id) is not None
    if took_a_place:  # without it, the key before it would make way for nothing
        flash("Rotate this key in turn: the next one takes its place, and that of the old one.")
        return redirect(to("ask_to_rotate", key_id=key_id), HTTPStatus.SEE_OTHER)
    key, _ = delete(current_context(), key_id)
    flash(f"{key.name} is deleted. Nobody can use it; create another.")
    return redirect(to("show_keys"), HTTPStatus.SEE_OTHER)


@org_page(Scope.ADMIN)
def show_delivered(org_id: str, key_id: str) -> Response:
    """Show how a key got to where it is."""
    with reading(db.session):
        key = get_key_of(db.session, org_id, current_environment(), key_id)
        places = ledger.places_of(db.session, key.id)
        names = names_of(db.session, [place.uri for place in places], org_id)
        use = uses_of(db.session, [key.id]).get(key.id)
    return page("delivered", key=key, places=places, names=names, unnamed=UNNAMED, use=use)


def shown_once(minted: Minted) -> Response:
    """Return the one answer that shows a key; nothing keeps it, and no cache may."""
    text = answers.created_key(minted.key, minted.secret)["key"]
    shown = render_template("dashboard/shown_once.html", key=minted.key, text=text, replaces=minted.replaces, to=to)
    response = Response(shown)
    response.headers["Cache-Control"] = "no-store"
    return response


def used_form() -> BaseResponse:
    """Say that a form was sent before, and minted nothing now."""
    words = (
        "This form has made its key, which is shown once and to nobody again; this click made nothing. If you stored "
        "the key, all is well. If not, delete it and create another."
    )
    ways = [Way("Open the keys", to("show_keys")), Way("Create another key", to("ask_for_key"))]
    shown = render_template("error.html", status=410, title="This key was shown already", detail=words, ways=ways)
    return Response(shown, HTTPStatus.GONE)


def _form_page(org_id: str, form: KeyForm | None, error: MushuError | None = None) -> Response:
    with reading(db.session):
        offer = offer_of(db.session, org_id)
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return page("create", status, offer=offer, form=form or offer.suggested(), error=error, permits=PERMITS)


PAGES: Final = (
    ("GET", "/keys/new", ask_for_key),
    ("POST", "/keys/new", create_key),
    ("POST", "/keys/<key_id>/put-away", put_away),
    ("GET", "/keys/<key_id>/delivered", show_delivered),
)
