"""The list of keys: search, filters, order, and the figures of what is shown."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import Response, request
from markupsafe import Markup

from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.destinations import read_destinations
from mushu.server.environments import Reader
from mushu.server.figures import KeyCounts
from mushu.server.filtered_keys import FilteredKeys
from mushu.server.hygiene import Sort
from mushu.server.kept_figures import OrgFigures
from mushu.server.keys import Scope
from mushu.server.keys.service import read_keys
from mushu.server.paging import Page, Window
from mushu.server.usage.engine import reading_with_usage
from mushu.server.usage.report import Bar
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
    figures = get_core().figures.of(reader, now, org_id, current_environment())
    found = _found(reader, now, org_id, query, figures)
    places, members = read_destinations(reader, org_id, _OFFERED), emails_of_members(reader, org_id, _OFFERED)
    names = {uri: name for name, uri in places.items()} if len(places) < _OFFERED else None
    words = f"in 24 hours by {found.meant:,} key{'' if found.meant == 1 else 's'}"
    return KeyListing(
        rows=rows_of(reader, now, org_id, found.page.rows, names, members),
        next_cursor=found.page.next_cursor,
        counts=figures.counts,
        meant=found.meant,
        chart=chart(found.hours, BY_HOUR, words, low=True),
        destinations={name: name for name in places},
        members=members,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The keys of a page, and the figures of all that are meant."""

    page: Page[Any]
    meant: int
    hours: Sequence[Bar]


def _found(reader: Reader, now: datetime, org_id: str, query: KeyQuery, figures: OrgFigures) -> _Found:
    window = Window(PAGE, query.cursor)
    if not query.is_narrowed and query.sort is Sort.CREATED:
        return _Found(read_keys(reader, org_id, current_environment(), window), figures.counts.keys, figures.hours)
    environment, selection = current_environment(), query.filters.selection(now)
    with reading(db.session) if query.filters.destination else nullcontext():
        hygiene = query.filters.hygiene(db.session, org_id)
    keys = FilteredKeys(org_id, environment, selection, hygiene, now)
    page = keys.page(reader, window, query.sort)
    if not query.is_narrowed:
        return _Found(page, figures.counts.keys, figures.hours)
    return _Found(page, keys.count(reader), keys.hours(reader))


PAGES: Final = (("GET", "/keys", show_keys),)
