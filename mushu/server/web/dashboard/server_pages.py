"""Pages of the server, for operators: what `flask doctor` looks at, and the policies of the gate."""

from collections.abc import Mapping
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final

from flask import abort, flash, redirect, render_template, request, url_for
from humanize import apnumber
from werkzeug import Response as BaseResponse

from mushu.environment import Environment
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, NameTaken, OperatorRequired, OrgNotFound, SessionEnded
from mushu.server.gate.policies import OverLimit, PolicyRequest, add_policy, get_policy, list_policies, remove_policy
from mushu.server.keys import Scope, parse_scopes
from mushu.server.operation.doctor import examine_running
from mushu.server.paging import CURSOR_LENGTH, Window
from mushu.server.rate_limits import parse_limits
from mushu.server.web.error_pages import nothing_there, pages_for_people, session_over
from mushu.server.web.guard import current_user, server_page
from mushu.server.web.pages import EmptyForm

PAGES = pages_for_people("server_pages", "/dashboard/server")
#: Policies of one page.
_PAGE: Final = 50
#: By status: what is answered beyond the limits.
_OVER_LIMITS: Final = {"403": "403, which each proxy takes", "429": "429; nginx makes 500 of it"}
_REFUSALS: Final = (Invalid, NameTaken, OrgNotFound)


@PAGES.get("/health")
@server_page
def show_health() -> str:
    """Show what the doctor finds in a server that runs; what costs long is for the command."""
    checks = examine_running(get_core())
    bad = sum(not check.ok for check in checks)
    return render_template(
        "dashboard/health.html", headline=_headline(bad), checks=sorted(checks, key=attrgetter("ok"))
    )


@PAGES.get("/policies")
@server_page
def show_policies() -> tuple[str, int]:
    """Show the policies that were not removed, by name."""
    return _policies()


@PAGES.post("/policies")
@server_page
def create_gate_policy() -> BaseResponse | tuple[str, int]:
    """Add a policy, whose name a proxy then sends."""
    _check_token()
    try:
        asked = _asked(request.form)
        with writing(db.session):
            add_policy(db.session, get_core().clock, current_user().actor, asked)
    except _REFUSALS as error:
        return _policies(error.detail)
    flash(f"The policy {asked.name} is added. A proxy asks at /forward-auth/{asked.name}.")
    return _to_policies()


@PAGES.get("/policies/<name>/remove")
@server_page
def ask_to_remove_policy(name: str) -> str:
    """Say what removing a policy would do."""
    with reading(db.session):
        policy = get_policy(db.session, name)
    return render_template("dashboard/remove_policy.html", policy=policy)


@PAGES.post("/policies/<name>/remove")
@server_page
def remove_gate_policy(name: str) -> BaseResponse:
    """Have a policy deny everybody from now on; its name is never given again."""
    _check_token()
    with writing(db.session):
        remove_policy(db.session, get_core().clock, current_user().actor, name)
    flash(f"The policy {name} denies everybody from now on.")
    return _to_policies()


def _policies(fault: str | None = None) -> tuple[str, int]:
    cursor = request.args.get("cursor", "")[:CURSOR_LENGTH] or None
    with reading(db.session):
        found = list_policies(db.session, Window(_PAGE, cursor))
    words: dict[str, Any] = {"found": found, "cursor": cursor, "fault": fault, "form": request.form}
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    words |= {"scopes": Scope, "environments": Environment, "over_limits": _OVER_LIMITS}
    return render_template("dashboard/policies.html", **words), status


def _asked(form: Mapping[str, str]) -> PolicyRequest:
    """Return the policy that the form asks for.

    Raises:
        Invalid: the scope, the environment, a limit or the status beyond it is none.
    """
    if form.get("environment") not in {*Environment}:
        raise Invalid("The environment is live or test.", field="environment")
    if form.get("over_limit") not in _OVER_LIMITS:
        raise Invalid("The answer beyond the limits is 403 or 429.", field="over_limit")
    return PolicyRequest(
        name=form.get("name", "").strip(),
        scope=parse_scopes([form.get("scope", "")])[0],
        org_id=form.get("org_id", "").strip() or None,
        any_org="any_org" in form,
        environment=Environment(form["environment"]),
        cli_tokens="cli_tokens" in form,
        limits=parse_limits(form.get("limits", "").replace(",", " ").split()),
        over_limit=OverLimit(int(form["over_limit"])),
    )


def _headline(bad: int) -> str:
    if not bad:
        return "All is well"
    return f"{apnumber(bad).capitalize()} thing{'' if bad == 1 else 's'} to mend"


def _check_token() -> None:
    """Refuse a form that is not from a page of this browser."""
    if not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)


def _to_policies() -> BaseResponse:
    return redirect(url_for("server_pages.show_policies"), HTTPStatus.SEE_OTHER)


PAGES.register_error_handler(OperatorRequired, nothing_there)
PAGES.register_error_handler(SessionEnded, session_over)
