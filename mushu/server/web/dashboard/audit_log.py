"""The audit log: filters in the address, pages by cursor, and the same as CSV."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, islice
from typing import Any, Final

from flask import Response, request
from werkzeug.datastructures import MultiDict

from mushu.server import answers
from mushu.server.audit import ActorKind, AuditEvent, EventFilter, list_events
from mushu.server.clock import parse_moment
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import Invalid
from mushu.server.keys import Scope
from mushu.server.orgs.members import list_members
from mushu.server.paging import CURSOR_LENGTH, Window, in_pages
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.shell import page
from mushu.server.web.dashboard.trail import TrailLine, trail_of
from mushu.server.web.guard import current_org, org_page

#: Events of one page, and members that the filter offers.
_PAGE: Final = 50
_OFFERED: Final = 100
#: Events of one CSV: it is made in memory.
MOST_OF_CSV: Final = 10_000
#: By parameter: what is offered, with words; each also takes what a person writes into the address.
_ACTIONS: Final = {
    "": "Everything", "key": "Keys", "destination": "Destinations", "member": "Members", "invitation": "Invitations",
    "org": "The organization", "policy": "Policies", "tenant": "Tenants", "media": "Media",
}  # fmt: skip
_ACTORS: Final = {
    "": "By anybody", "user": "By users", "api_key": "By API keys", "operator": "By operators", "system": "By Mushu",
}  # fmt: skip
_PERIODS: Final = {"": "From the beginning", "1d": "Last day", "7d": "7 days", "30d": "30 days", "365d": "A year"}
_KNOWN: Final = {"action": 128, "actor": 128, "about": 128, "since": 40, "until": 40, "cursor": CURSOR_LENGTH}
#: As `mushu audit list --csv` has them.
_COLUMNS: Final = ("event_id", "at", "action", "actor_kind", "actor_id", "target_id", "org_id", "details")


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What an address asks for."""

    #: Parameters as they were given, without those that are empty.
    given: Mapping[str, str]
    wanted: EventFilter

    @property
    def chips(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return the words of each filter that is chosen, and the parameters without it."""
        return [(f"{name} {value}", self.without(name)) for name, value in self.given.items() if name != "cursor"]

    def without(self, *names: str) -> dict[str, str]:
        """Return the parameters but these; another filter begins at the first page again."""
        return {name: value for name, value in self.given.items() if name not in (*names, "cursor")}

    def offer(self, name: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return what a filter offers, with what is chosen among it, wherever that comes from."""
        chosen = self.given.get(name, "")
        return [*options.items(), *({} if chosen in options else {chosen: chosen}).items()]


def event_query(parameters: "MultiDict[str, str]", now: datetime, org_id: str) -> EventQuery:
    """Return what an address asks for.

    Raises:
        Invalid: a parameter or a value is not known; a typo would show more than is asked for.
    """
    given = {name: value.strip() for name, value in parameters.items() if value.strip()}
    if any(len(value) > _KNOWN.get(name, 0) for name, value in given.items()):
        raise Invalid(f"The log takes {', '.join(_KNOWN)}, and no long text.", field="filter")
    moments = {name: parse_moment(given[name], now, name) for name in ("since", "until") if name in given}
    wanted = EventFilter(
        org_id=org_id,
        action=given.get("action"),
        actor=given.get("actor"),
        about=given.get("about"),
        since=moments.get("since"),
        until=moments.get("until"),
        without_accounts=True,
    )
    return EventQuery(given, wanted)


@org_page(Scope.ADMIN)
def show_audit_log(org_id: str) -> Response:
    """Show what was changed in the organization, newest first; of live and test alike."""
    query = event_query(request.args, get_core().clock(), org_id)
    with reading(db.session):
        found = list_events(db.session, query.wanted, Window(_PAGE, query.given.get("cursor")))
        lines = trail_of(db.session, found.rows)
        members = [one.user_id for one in list_members(db.session, org_id, Window(_OFFERED)).rows]
        actors = _ACTORS | emails_of(db.session, members)
    offered: dict[str, Any] = {"actions": _ACTIONS, "actors": actors, "periods": _PERIODS, "most": MOST_OF_CSV}
    return page("audit_log", days=_by_day(lines), next_cursor=found.next_cursor, query=query, **offered)


@org_page(Scope.ADMIN)
def download_audit_log(org_id: str) -> Response:
    """Answer the newest events that a filter means, as CSV; its name says whether these are all."""
    query = event_query(request.args, get_core().clock(), org_id)
    events = in_pages(db.session, lambda window: list_events(db.session, query.wanted, window))
    rows = [[_cell(event, field) for field in _COLUMNS] for event in islice(events, MOST_OF_CSV + 1)]
    text = io.StringIO()
    csv.writer(text).writerows([_COLUMNS, *rows[:MOST_OF_CSV]])
    which = f"newest-{MOST_OF_CSV}" if len(rows) > MOST_OF_CSV else "all"
    headers = {"Content-Disposition": f"attachment; filename=audit-{current_org()}-{which}.csv"}
    return Response(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _cell(event: AuditEvent, field: str) -> str:
    """Return a cell; what is not plain is JSON in ASCII, which no spreadsheet takes for a formula."""
    value = answers.event(event)[field]
    if field == "actor_id" and event.actor_kind == ActorKind.OPERATOR:
        return ""
    plain = isinstance(value, str) and value.isascii() and value.isprintable() and value[:1].isalnum()
    return str(value) if plain else json.dumps(value)


def _by_day(lines: list[TrailLine]) -> Iterator[tuple[date, list[TrailLine]]]:
    return ((day, [*some]) for day, some in groupby(lines, lambda line: line.at.date()))


PAGES: Final = (("GET", "/audit", show_audit_log), ("GET", "/audit.csv", download_audit_log))
