"""An operator adds a destination of an organization, with what is needed to get in there, and removes one."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Response, flash, redirect, request
from werkzeug import Response as BaseResponse

from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.inspection import refusal_of, true_uri
from mushu.server.delivery.named_destinations import add_named, forget_settings, remove_named
from mushu.server.destinations import DestinationRequest
from mushu.server.errors import DestinationHeld, Invalid, NameTaken, SealingFailed
from mushu.server.keys import Scope
from mushu.server.web.dashboard.destination_rows import lines_of
from mushu.server.web.dashboard.destinations import PATIENCE, SETTINGS, list_page
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_environment, current_principal, org_page

_REFUSALS: Final = (DestinationHeld, Invalid, NameTaken, SealingFailed)
#: A relative path would be below each of them, and mean another place.
_FOLDERS: Final = (Path("/"), Path("/nowhere"))


@org_page(Scope.ADMIN, operator_only=True)
def add_destination(org_id: str) -> BaseResponse:
    """Give a place a name, and what is needed to get in there."""
    core, form = get_core(), request.form
    name, uri = form.get("name", "").strip(), form.get("uri", "").strip()
    try:
        asked = DestinationRequest(org_id, name, uri, _settings(form), current_environment())
        service.check(asked)  # before a plugin sees any of it
        asked = replace(asked, uri=_absolute(asked.uri, asked.settings))
        with writing(db.session):
            forget_settings(db.session, core.clock)
            added = add_named(db.session, core.clock, current_principal().actor, core.sealing_keys, asked)
            told = f"{added.name} stands for {added.uri} from now on."
    except _REFUSALS as error:
        return list_page(error.detail)
    flash(told)  # once it is so
    _look_at(asked.uri)
    return _to_list()


@org_page(Scope.ADMIN, operator_only=True)
def ask_to_remove_destination(org_id: str, name: str) -> Response:
    """Say what removing a destination would do."""
    with reading(db.session):
        (line,) = lines_of(db.session, [service.get(db.session, org_id, name)])
    return page("remove_destination", line=line)


@org_page(Scope.ADMIN, operator_only=True)
def remove_destination(org_id: str, name: str) -> BaseResponse:
    """Take the name away; refused while a living key is there."""
    clock = get_core().clock
    with writing(db.session):
        removed = remove_named(db.session, clock, current_principal().actor, org_id, name)
        forget_settings(db.session, clock)
    flash(f"{removed.name} is removed. Its name and its place are free again.")
    return _to_list()


def _look_at(uri: str) -> None:
    """Say it now where no key can be put there: else the next one who creates a key hears of it."""
    refusal = refusal_of(get_core().open_destination, uri, PATIENCE)
    if refusal is not None:
        flash(f"No key can be put there yet: {refusal}")


def _absolute(uri: str, settings: Mapping[str, Secret]) -> str:
    """Return the URI as its plugin spells it.

    Raises:
        Invalid: it has a relative path, and nobody knows below which folder; and what `true_uri` raises.
    """
    found = {true_uri(uri, settings, folder) for folder in _FOLDERS}
    if len(found) > 1:
        raise Invalid("Write the path from the root on, as in env:/srv/app/.env.", field="uri")
    return found.pop()


def _settings(form: Mapping[str, str]) -> dict[str, Secret]:
    """Return what was filled in of the names and values of settings.

    Raises:
        Invalid: a value without a name, or a name twice.
    """
    given: dict[str, Secret] = {}
    for place in range(SETTINGS):
        name, value = form.get(f"setting.{place}", "").strip(), form.get(f"value.{place}", "")
        if (value and not name) or name in given:
            raise Invalid("Each setting has a name, and no name stands there twice.", field="settings")
        if name:
            given[name] = Secret(value)
    return given


def _to_list() -> BaseResponse:
    return redirect(to("show_destinations"), HTTPStatus.SEE_OTHER)


PAGES: Final = (
    ("POST", "/destinations", add_destination),
    ("GET", "/destinations/<name>/remove", ask_to_remove_destination),
    ("POST", "/destinations/<name>/remove", remove_destination),
)
