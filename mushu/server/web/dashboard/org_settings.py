"""Settings of an organization: its name, and what holds for new keys and members; the owner deletes it."""

from http import HTTPStatus
from typing import Any, Final

from flask import Response, flash, redirect, request, url_for
from werkzeug import Response as BaseResponse

from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import Invalid
from mushu.server.figures import count_listed
from mushu.server.keys import Scope, parse_scopes
from mushu.server.keys.selection import Selection
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs.service import get_org, rename_org
from mushu.server.orgs.settings import change_rules, rules_of, written
from mushu.server.web.dashboard.key_form import picked
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_context, current_org, current_principal, org_page

_DURATIONS: Final = ("max_key_age", "default_lifetime", "default_rotate_every")
_DOMAINS: Final = "email_domains"
#: Of hidden fields, which hold what the form was shown with: nobody takes back what somebody else changed meanwhile.
_WAS: Final = "was-"


@org_page(Scope.READ)
def show_settings(org_id: str) -> Response:
    """Show the settings; a member reads them."""
    with reading(db.session):
        told, name = written(rules_of(db.session, org_id)), get_org(db.session, org_id).name
    scopes = _words(told["default_scopes"])
    form = {name: told[name] or "" for name in _DURATIONS} | {_DOMAINS: ", ".join(_words(told[_DOMAINS])), "name": name}
    was = {f"{_WAS}{field}": value for field, value in form.items()} | {f"{_WAS}scope.{scope}": "" for scope in scopes}
    return page("settings", form=form, was=was, scopes=scopes, permits=Scope, fault=None)


@org_page(Scope.ADMIN, changes_shared=True)
def change_settings(org_id: str) -> BaseResponse:
    """Change what is filled in otherwise than it was shown, in one transaction; what others changed meanwhile stays."""
    try:
        _save(org_id)
    except Invalid as error:
        shown = {field: value for field, value in request.form.items() if field.startswith(_WAS)}
        words = {"form": request.form, "was": shown, "scopes": picked("scope"), "permits": Scope, "fault": error.detail}
        return page("settings", HTTPStatus.UNPROCESSABLE_ENTITY, **words)
    flash("Saved. It holds for new keys and new members; those that are there keep what they have.")
    return redirect(to("show_settings"), HTTPStatus.SEE_OTHER)


def _save(org_id: str) -> None:
    """Save the form; owns its transaction.

    Raises:
        Invalid: a field is not usable; nothing was changed.
    """
    name, asked, was = request.form.get("name", "").strip(), _asked(), _asked(_WAS)
    filled_in = {field: value for field, value in asked.items() if value != was[field]}
    with writing(db.session):
        clock, actor, org = get_core().clock, current_principal().actor, get_org(db.session, org_id)
        if name not in (request.form.get(f"{_WAS}name"), org.name):
            rename_org(db.session, clock, actor, org, name)
        changes = _changed(db.session, org_id, filled_in)
        if changes:
            change_rules(db.session, clock, actor, org_id, changes)


@org_page(Scope.ADMIN, owner_only=True)
def ask_to_delete_org(org_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Say what deleting the organization would do."""
    return _ask(None)


@org_page(Scope.ADMIN, owner_only=True, changes_shared=True)
def delete_organization(org_id: str) -> BaseResponse:
    """Delete the organization and every key it has, where its name is typed."""
    with reading(db.session):
        name = get_org(db.session, org_id).name
    if request.form.get("confirm", "").strip() not in (name, org_id):
        return _ask("That is neither its name nor its id. Nothing was deleted.")
    delete_org(current_context(), org_id, get_core().resources.on_org_deleted)
    flash(f"{name} is deleted, with all its keys.")
    return redirect(url_for("start.list_organizations"), HTTPStatus.SEE_OTHER)


def _ask(fault: str | None) -> Response:
    with reading(db.session):
        keys = count_listed(db.session, get_core().clock(), current_org(), Selection())
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return page("delete_org", status, keys=keys, fault=fault)


def _asked(prefix: str = "") -> dict[str, Any]:
    """Return the settings of the form, or with a prefix those that it began with; what is empty is nothing.

    Raises:
        Invalid: a duration or a scope is none.
    """
    texts = {name: request.form.get(prefix + name, "") for name in (*_DURATIONS, _DOMAINS)}
    scopes = picked(f"{prefix}scope")
    asked: dict[str, Any] = {
        name: parse_duration(texts[name], name) if texts[name].strip() else None for name in _DURATIONS
    }
    domains = tuple(dict.fromkeys(texts[_DOMAINS].lower().replace(",", " ").split()))
    return asked | {"default_scopes": parse_scopes([*scopes]) if scopes else None, _DOMAINS: domains or None}


def _changed(session: AnySession, org_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    rules = rules_of(session, org_id)
    return {name: value for name, value in asked.items() if value != getattr(rules, name)}


def _words(told: object) -> list[str]:
    return [*told] if isinstance(told, list) else []


PAGES: Final = (
    ("GET", "/settings", show_settings),
    ("POST", "/settings", change_settings),
    ("GET", "/settings/delete", ask_to_delete_org),
    ("POST", "/settings/delete", delete_organization),
)
