"""The list of keys: search, filters, order, and the figures of what is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from flask import Response, request

from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.destinations import list_destinations
from mushu.server.figures import KeyCounts, count_keys, hours_of_keys
from mushu.server.hygiene import list_keys_to_look_at
from mushu.server.keys import Scope
from mushu.server.keys.service import Selection
from mushu.server.orgs.members import list_members
from mushu.server.paging import Window
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.charts import BY_HOUR, Chart, chart
from mushu.server.web.dashboard.key_filters import OFFERED, PAGE, SORTS, KeyQuery, key_query
from mushu.server.web.dashboard.key_rows import KeyRow, rows_of
from mushu.server.web.dashboard.key_table import table_rows
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_environment, org_page

#: Destinations and members that the filters offer; any other can be written into the address.
_OFFERED: Final = 100
#: The views above the list: words, parameters, and which of the counts.
_VIEWS: Final[tuple[tuple[str, Mapping[str, str], str], ...]] = (
    ("All", {}, "keys"),
    ("Drifted", {"need": "drifted"}, "drifted"),
    ("Rotation stalled", {"need": "stalled"}, "stalled"),
    ("Expire soon", {"expiry": "soon"}, "expiring"),
    ("Never used", {"use": "never"}, "unused"),
    ("Idle", {"use": "idle"}, "idle"),
    ("Owner left", {"need": "left"}, "owner_left"),
    ("No expiry", {"expiry": "none"}, "no_expiry"),
)


@dataclass(frozen=True, slots=True)
class KeyListing:
    """One page of the list, and the figures of all keys that it goes through."""

    rows: Sequence[KeyRow]
    next_cursor: str | None
    #: Of all keys, whatever is chosen.
    counts: KeyCounts
    #: How many keys are meant.
    meant: int
    chart: Chart
    #: What the filters offer, and in which words: destinations by name, and members by id.
    destinations: Mapping[str, str]
    members: Mapping[str, str]


@org_page(Scope.ADMIN)
def show_keys(org_id: str) -> Response:
    """Show the keys of an organization and environment."""
    query, now = key_query(request.args), get_core().clock()
    with reading(db.session):
        found = _listing(db.session, now, org_id, query)
    words: dict[str, Any] = {"choices": OFFERED, "sorts": SORTS, "views": _VIEWS}
    table = table_rows(found.rows, now, to("show_keys"))
    return page("keys", HTTPStatus.OK, found=found, query=query, table=table, **words)


def _listing(session: AnySession, now: datetime, org_id: str, query: KeyQuery) -> KeyListing:
    selection, hygiene = query.filters.selection(now), query.filters.hygiene(session, org_id)
    found = list_keys_to_look_at(session, now, org_id, selection, hygiene, Window(PAGE, query.cursor), query.sort)
    counts = count_keys(session, now, org_id, Selection((current_environment(),)))
    meant = count_keys(session, now, org_id, selection, hygiene).keys if query.is_narrowed else counts.keys
    hours = hours_of_keys(session, now, org_id, selection, hygiene)
    members = [member.user_id for member in list_members(session, org_id, Window(_OFFERED)).rows]
    return KeyListing(
        rows=rows_of(session, now, org_id, found.rows),
        next_cursor=found.next_cursor,
        counts=counts,
        meant=meant,
        chart=chart(hours, BY_HOUR, f"in 24 hours by {meant:,} key{'' if meant == 1 else 's'}", low=True),
        destinations={one.name: one.name for one in list_destinations(session, org_id, Window(_OFFERED)).rows},
        members=emails_of(session, members),
    )


PAGES: Final = (("GET", "/keys", show_keys),)
