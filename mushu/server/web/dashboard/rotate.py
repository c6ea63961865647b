"""Rotating a key: how the new one takes its place; `rotation.py` is the page on which that is watched."""

from http import HTTPStatus
from typing import Final

from flask import Response, redirect, request
from werkzeug import Response as BaseResponse

from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import Invalid, MushuError, WrongState
from mushu.server.keys import Scope
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.rotate import rotate
from mushu.server.web.dashboard.change import keys_in_use
from mushu.server.web.dashboard.create import REFUSALS, shown_once
from mushu.server.web.dashboard.destination_rows import told
from mushu.server.web.dashboard.key_form import USED, mark_of_form, new_token
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.error_pages import Way, sent_before
from mushu.server.web.guard import current_context, org_page

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
    return _rotated(key_id, force=False)


@org_page(Scope.ADMIN, operator_only=True)
def rotate_over(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Do the same, and overwrite what is there, also where it is none of Mushu's: as a command does with --force."""
    return _rotated(key_id, force=True)


def _rotated(key_id: str, *, force: bool) -> BaseResponse:
    try:
        minted = rotate(current_context(), _request(key_id), _choice(force=force))
    except USED as error:
        return _rotated_before(key_id, error.key_id)
    except (*REFUSALS, WrongState) as error:
        return _form_page(key_id, error)
    if minted.secret is not None:
        return shown_once(minted)
    return redirect(to("show_rotation", key_id=key_id), HTTPStatus.SEE_OTHER)


def _rotated_before(key_id: str, successor_id: str | None) -> Response:
    """Say that a form was sent before, and what to do where its key was lost."""
    words = (
        "This form has rotated the key. The new one is shown once and to nobody again; this click made nothing. If you "
        "stored it, all is well. If not, rotate the new key in turn: without it, the old key makes way for nothing."
    )
    ways = [Way("Watch the rotation", to("show_rotation", key_id=key_id))]
    if successor_id is not None:
        ways.append(Way("Rotate the new key", to("ask_to_rotate", key_id=successor_id)))
    return sent_before("This key was rotated already", words, ways)


def _request(key_id: str) -> RotationRequest:
    """Return what is asked for.

    Raises:
        Invalid: a field is not usable.
    """
    old, settle = request.form.get("old", "after"), request.form.get("settle", "1h")
    terms = Terms(settle=parse_duration(settle, "settle"), at_once=old == NOW)
    asked: dict[str, object] = {"key_id": key_id, "old": old, "settle": settle, "way": request.form.get("way", "")}
    return RotationRequest(key_id=key_id, terms=terms, idempotency=mark_of_form("rotate_key_page", asked))


def _choice(*, force: bool) -> DeliveryChoice:
    mode = _WAYS.get(request.form.get("way", ""))
    if mode is None:
        raise Invalid("Say where the new key goes: where the old one is, or shown once.", field="way")
    return DeliveryChoice(mode=mode, force=force)


def _form_page(key_id: str, error: MushuError | None) -> Response:
    with reading(db.session):
        found = keys_in_use(db.session, get_core().clock(), [key_id])[0]
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    old = request.args.get("old") or request.form.get("old", "after")
    fault = None if error is None else told(error)
    return page("rotate", status, found=found, fault=fault, old=old, settles=_SETTLES, form_token=new_token())


PAGES: Final = (
    ("GET", "/keys/<key_id>/rotate", ask_to_rotate),
    ("POST", "/keys/<key_id>/rotate", rotate_key),
    ("POST", "/keys/<key_id>/overwrite", rotate_over),
)
