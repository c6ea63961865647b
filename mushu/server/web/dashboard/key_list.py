"""The list of keys: search, filters, order, and the figures of what is shown."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Response, request
from markupsafe import Markup

from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.destinations import read_destinations
from mushu.server.environments import Reader
from mushu.server.figures import KeyCounts, added_up
from mushu.server.filtered_keys import FilteredKeys
from mushu.server.hygiene import Sort
from mushu.server.keys import Scope
from mushu.server.keys.service import read_keys
from mushu.server.paging import Window
from mushu.server.usage.engine import reading_with_usage
from mushu.server.users.service import emails_of_members
from mushu.server.web.dashboard.charts import BY_HOUR, Chart, chart
from mushu.server.web.dashboard.key_filters import PAGE, SORTS, KeyQuery, key_query
from mushu.server.web.dashboard.key_rows import KeyRow, rows_of
from mushu.server.web.dashboard.key_table import table_head, table_rows
from mushu.server.web.dashboard.shell import page, pages_here
from mushu.server.web.guard import current_environment, current_reader, org_page
from mushu.server.web.markup import escaped

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
    with reading_with_usage(current_reader()) as both:
        found = _listing(both, now, org_id, query)
    here = pages_here()
    heads, views = table_head(query, here), _views(found.counts, query, here)
    table = table_rows(found.rows, now, here("show_keys"))
    return page("keys", found=found, query=query, sorts=SORTS, views=views, heads=heads, table=table)


def _views(counts: KeyCounts, query: KeyQuery, to: Callable[..., str]) -> Markup:
    chosen, links = query.without("sort"), []
    for words, parameters, name in _VIEWS:
        count: int = getattr(counts, name)
        if count or name != "no_expiry":
            here = ' aria-current="page"' if parameters == chosen else ""
            href = escaped(to("show_keys", **parameters))
            links.append(f'<a href="{href}"{here}>{words} <span class="num">{count:,}</span></a>')
    return Markup("".join(links))  # noqa: S704 - addresses are escaped


def _listing(reader: Reader, now: datetime, org_id: str, query: KeyQuery) -> KeyListing:
    environment, window = current_environment(), Window(PAGE, query.cursor)
    filtered = _filtered(now, org_id, query) if query.is_narrowed or query.sort is not Sort.CREATED else None
    if filtered is None:
        page = read_keys(reader, org_id, environment, window)
    else:
        page = filtered.page(reader, window, query.sort)
    places, members = read_destinations(reader, org_id, _OFFERED), emails_of_members(reader, org_id, _OFFERED)
    names = {uri: name for name, uri in places.items()} if len(places) < _OFFERED else None
    rows = rows_of(reader, now, org_id, page.rows, names, members)
    figures = get_core().figures
    if query.cursor is None and page.next_cursor is None:  # all that are meant are here
        counts = figures.counts(reader, now, org_id, environment)
        meant, hours = len(rows), added_up(now, [row.hours for row in rows])
    else:
        of_all = figures.of(reader, now, org_id, environment)
        counts, meant, hours = of_all.counts, of_all.counts.keys, of_all.hours
        if filtered is not None and query.is_narrowed:
            meant, hours = filtered.count(reader), filtered.hours(reader)
    words = f"in 24 hours by {meant:,} key{'' if meant == 1 else 's'}"
    return KeyListing(
        rows=rows,
        next_cursor=page.next_cursor,
        counts=counts,
        meant=meant,
        chart=chart(hours, BY_HOUR, words, low=True),
        destinations={name: name for name in places},
        members=members,
    )


def _filtered(now: datetime, org_id: str, query: KeyQuery) -> FilteredKeys:
    with reading(db.session) if query.filters.destination else nullcontext():
        hygiene = query.filters.hygiene(db.session, org_id)
    return FilteredKeys(org_id, current_environment(), query.filters.selection(now), hygiene, now)


PAGES: Final = (("GET", "/keys", show_keys),)
