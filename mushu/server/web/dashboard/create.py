"""Creating a key: the form, the one answer that shows a key, and the page of a key that was delivered."""

from http import HTTPStatus
from typing import Final

from flask import Response, flash, redirect, render_template, request
from werkzeug import Response as BaseResponse

from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.delivery.named_destinations import names_of
from mushu.server.errors import (
    DeliveryFailed,
    DestinationHeld,
    DestinationNotFound,
    Invalid,
    MushuError,
)
from mushu.server.keys import Scope
from mushu.server.keys.rotation import find_rotation_to
from mushu.server.keys.service import get_key_of
from mushu.server.lifecycle.context import Minted
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.usage import uses_of
from mushu.server.web.dashboard.destination_rows import place_called, told
from mushu.server.web.dashboard.key_form import PERMITS, USED, KeyForm, offer_of
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.error_pages import Way, sent_before
from mushu.server.web.guard import current_context, current_environment, org_page

#: What is wrong with a form, and leaves no key behind.
REFUSALS: Final = (Invalid, DestinationHeld, DestinationNotFound, DeliveryFailed)


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
def put_away(org_id: str, key_id: str) -> BaseResponse:
    """Lead on from a key that was shown once; one that was lost is deleted, or rotated where it took a place."""
    if "lost" not in request.form:
        return redirect(to("show_key", key_id=key_id), HTTPStatus.SEE_OTHER)
    with reading(db.session):
        get_key_of(db.session, org_id, current_environment(), key_id)
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
        found = ledger.places_of(db.session, key.id)
        names = names_of(db.session, [place.uri for place in found], org_id)
        use = uses_of(db.session, [key.id]).get(key.id)
    places = [(place_called(place.uri, names), place) for place in found]
    return page("delivered", key=key, places=places, use=use)


def shown_once(minted: Minted) -> Response:
    """Return the one answer that shows a key; nothing keeps it, and no cache may."""
    text = answers.created_key(minted.key, minted.secret)["key"]
    shown = render_template("dashboard/shown_once.html", key=minted.key, text=text, replaces=minted.replaces, to=to)
    response = Response(shown)
    response.headers["Cache-Control"] = "no-store"
    return response


def used_form() -> Response:
    """Say that a form was sent before, and minted nothing now."""
    words = (
        "This form has made its key, which is shown once and to nobody again; this click made nothing. If you stored "
        "the key, all is well. If not, delete it and create another."
    )
    ways = [Way("Open the keys", to("show_keys")), Way("Create another key", to("ask_for_key"))]
    return sent_before("This key was shown already", words, ways)


def _form_page(org_id: str, form: KeyForm | None, error: MushuError | None = None) -> Response:
    with reading(db.session):
        offer = offer_of(db.session, org_id)
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    fault = None if error is None else told(error)
    return page(
        "create", status, offer=offer, form=form or offer.suggested(), error=error, fault=fault, permits=PERMITS
    )


PAGES: Final = (
    ("GET", "/keys/new", ask_for_key),
    ("POST", "/keys/new", create_key),
    ("POST", "/keys/<key_id>/put-away", put_away),
    ("GET", "/keys/<key_id>/delivered", show_delivered),
)
