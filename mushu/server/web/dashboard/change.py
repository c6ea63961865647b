"""Changing keys that are there: disable, enable and delete, one or several; a deletion is asked about first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from flask import Response, flash, redirect, request
from sqlalchemy import select
from werkzeug import Response as BaseResponse

from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Condition
from mushu.server.delivery.named_destinations import names_of
from mushu.server.delivery.reconciler import any_unreachable
from mushu.server.errors import Invalid, KeyNotFound, MushuError, WrongState
from mushu.server.figures import HOURS_OF_A_KEY, hours_by_key
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import IS_ALIVE
from mushu.server.lifecycle.change import disable, enable
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import delete
from mushu.server.usage import KeyUse, uses_of
from mushu.server.web.dashboard.destination_rows import place_called
from mushu.server.web.dashboard.key_form import picked
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_context, current_environment, current_org, org_page

#: Keys that are changed at once: more than a page of the list has, and fewer than the fields of a form.
_MOST: Final = 90
#: Refusals that are told: what is told stands in a cookie.
_TOLD: Final = 3
_DAY: Final = timedelta(days=1)
_HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """A key, how it was used of late, and where it is."""

    key: ApiKey
    use: KeyUse | None
    #: Requests of the last day.
    requests: int
    #: Whether it was used in the last day.
    is_busy: bool
    #: What its destinations on the server are called, and which of them hold something else, as was seen last.
    places: Sequence[str]
    drifted: Sequence[str]


def keys_in_use(session: AnySession, now: datetime, key_ids: Sequence[str]) -> list[KeyInUse]:
    """Return these keys of the current organization and environment, in the caller's transaction.

    Raises:
        KeyNotFound: one is not there, or was deleted.
    """
    query = select(ApiKey).where(ApiKey.id.in_(key_ids), ApiKey.org_id == current_org(), IS_ALIVE)
    keys = {key.id: key for key in session.scalars(query.where(ApiKey.environment == current_environment()))}
    for key_id in key_ids:
        if key_id not in keys:
            raise KeyNotFound(f"There is no {current_environment()} API key {key_id!r} in {current_org()}.")
    uses, hours = uses_of(session, key_ids), hours_by_key(session, now, key_ids)
    places = ledger.on_server(ledger.list_deliveries(session, key_ids))
    names = names_of(session, [place.uri for place in places], current_org())
    called = [(place.key_id, place_called(place.uri, names), place.condition) for place in places]
    return [
        KeyInUse(
            key=keys[key_id],
            use=uses.get(key_id),
            requests=sum(requests for place, requests, _ in hours[key_id] if place >= HOURS_OF_A_KEY - _HOURS),
            is_busy=key_id in uses and uses[key_id].last_used_at > now - _DAY,
            places=[name for of, name, _ in called if of == key_id],
            drifted=[name for of, name, condition in called if of == key_id and condition == Condition.DRIFTED],
        )
        for key_id in key_ids
    ]


@org_page(Scope.ADMIN)
def disable_key(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Refuse a key from now on, until it is enabled again."""
    key = disable(current_context(), key_id)
    flash(f"{key.name} is disabled: it is refused from the next request on. Enabling it takes that back.")
    return _to_key(key)


@org_page(Scope.ADMIN)
def enable_key(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Let a disabled key work again."""
    key = enable(current_context(), key_id)
    flash(f"{key.name} works again.")
    return _to_key(key)


@org_page(Scope.ADMIN)
def ask_to_delete(org_id: str, key_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Say what deleting a key would do."""
    return page("delete", found=_in_use(key_id), fault=None)


@org_page(Scope.ADMIN)
def delete_key(org_id: str, key_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Delete a key for good; one that was used in the last day only where its name is typed."""
    found = _in_use(key_id)
    if found.is_busy and request.form.get("confirm", "").strip() not in (found.key.name, found.key.id):
        fault = "That is neither its name nor its id. Nothing was deleted."
        return page("delete", HTTPStatus.UNPROCESSABLE_ENTITY, found=found, fault=fault)
    flash(_delete(current_context(), key_id))
    return _to_list()


@org_page(Scope.ADMIN)
def ask_about_keys(org_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Say what disabling or deleting the picked keys would do; this changes nothing."""
    return _ask(None)


@org_page(Scope.ADMIN)
def change_keys(org_id: str) -> BaseResponse:  # noqa: ARG001 - the context has it
    """Disable or delete the picked keys, and say of each that could not be why."""
    change, found = _picked()
    if change is _delete and any(one.is_busy for one in found) and request.form.get("confirm") != str(len(found)):
        return _ask(f"Type {len(found)}, the number of keys. Nothing was deleted.")
    key_ids = [one.key.id for one in found]  # a refusal takes back what the session knows
    refused = [error.detail for key_id in key_ids if (error := _refusal(change, key_id)) is not None]
    done = "disabled" if change is _disable else "deleted for good"
    count = len(key_ids) - len(refused)
    flash(
        f"{count} key{' is' if count == 1 else 's are'} {done}." + (f" {len(refused)} could not be." if refused else "")
    )
    for detail in refused[:_TOLD]:
        flash(detail)
    return _to_list()


def _refusal(change: Callable[[Context, str], str], key_id: str) -> MushuError | None:
    try:
        change(current_context(), key_id)
    except (KeyNotFound, WrongState) as error:
        return error
    return None


def _delete(context: Context, key_id: str) -> str:
    key, findings = delete(context, key_id)
    left = " A destination does not answer; its value is taken away once it does." if any_unreachable(findings) else ""
    return f"{key.name} is deleted for good: it is refused from the next request on.{left}"


def _disable(context: Context, key_id: str) -> str:
    return f"{disable(context, key_id).name} is disabled."


_CHANGES: Final[dict[str, Callable[[Context, str], str]]] = {"disable": _disable, "delete": _delete}


def _picked() -> tuple[Callable[[Context, str], str], list[KeyInUse]]:
    """Return what is to be done, and the keys that are picked.

    Raises:
        Invalid: nothing that can be done, or no key, or too many.
        KeyNotFound: one is not there.
    """
    change, key_ids = _CHANGES.get(request.form.get("do", "")), picked("key")
    if change is None or not 0 < len(key_ids) <= _MOST:
        raise Invalid(f"Pick 1 to {_MOST} keys of the list, and then what is to be done with them.", field="key")
    with reading(db.session):
        return change, keys_in_use(db.session, get_core().clock(), key_ids)


def _ask(fault: str | None) -> Response:
    _, found = _picked()
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return page("chosen", status, found=found, do=request.form["do"], fault=fault)


def _in_use(key_id: str) -> KeyInUse:
    with reading(db.session):
        return keys_in_use(db.session, get_core().clock(), [key_id])[0]


def _to_key(key: ApiKey) -> BaseResponse:
    return redirect(to("show_key", key_id=key.id), HTTPStatus.SEE_OTHER)


def _to_list() -> BaseResponse:
    return redirect(to("show_keys"), HTTPStatus.SEE_OTHER)


PAGES: Final = (
    ("POST", "/keys/picked", ask_about_keys),
    ("POST", "/keys/picked/change", change_keys),
    ("POST", "/keys/<key_id>/disable", disable_key),
    ("POST", "/keys/<key_id>/enable", enable_key),
    ("GET", "/keys/<key_id>/delete", ask_to_delete),
    ("POST", "/keys/<key_id>/delete", delete_key),
)
