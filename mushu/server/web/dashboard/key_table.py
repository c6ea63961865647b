"""The table of keys as markup: each row is one text, because a page draws fifty of them.

Text of others becomes markup by `escaped` or `readable`, and by nothing else.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from markupsafe import Markup

from mushu.server.hygiene import Sort
from mushu.server.keys.states import DEAD
from mushu.server.web.dashboard.charts import sparkline
from mushu.server.web.dashboard.key_filters import KeyQuery
from mushu.server.web.dashboard.key_rows import KeyRow
from mushu.server.web.markup import Html, escaped, icon, readable, said
from mushu.server.web.templating import time_from, version

_SEALED: Final = icon("stamp", "Sealed: nobody has seen it")
_ON_CLIENT: Final = icon("key-round", "On a client’s machine")  # noqa: RUF001 - an apostrophe
_SHOWN: Final = icon("eye", "Was shown")
_ARROW: Final = icon("arrow-down")
#: Above each column, and the order that it offers.
_COLUMNS: Final = (
    ("Key", Sort.NAME), ("Status", None), ("Last 36 hours", None), ("Last used", Sort.LAST_USED), ("Where it is", None),
    ("Expires", Sort.EXPIRES),
)  # fmt: skip


def table_head(query: KeyQuery, to: Callable[..., str]) -> Markup:
    """Return the heads of the columns; those that sort are links."""
    return Markup("".join([_head_of(words, sort, query, to) for words, sort in _COLUMNS]))  # noqa: S704 - of `Html` only


def _head_of(words: str, sort: Sort | None, query: KeyQuery, to: Callable[..., str]) -> Html:
    if sort is None:
        return Html(f'<th scope="col">{words}</th>')
    link = Html(f'<a href="{escaped(to("show_keys", **query.sorted_by(sort)))}">{words}</a>')
    if query.sort is not sort:
        return Html(f'<th scope="col">{link}</th>')
    order = "descending" if sort is Sort.LAST_USED else "ascending"
    return Html(f'<th scope="col" aria-sort="{order}">{link}{_ARROW}</th>')


def table_rows(rows: Sequence[KeyRow], now: datetime, address: str) -> Markup:
    """Return the rows of the table of keys.

    Args:
        address: of the list; the page of each key is below it.
    """
    below = escaped(address)
    return Markup("\n".join([_row_of(row, now, below) for row in rows]))  # noqa: S704 - of `Html` only


def _row_of(row: KeyRow, now: datetime, address: Html) -> Html:
    """Return one row: its holes hold markup, in which the text of others is escaped."""
    key, use = row.facts.key, row.facts.use
    name, hint = readable(key.name), escaped(key.hint).replace("…", "&hellip;")
    box = f'<input class="box" type="checkbox" name="key.{key.id}" value="yes" aria-label="Pick {escaped(key.name)}">'
    asked, refused = f"{row.requests:,}", f"{row.denials:,}"
    told = f"{asked} request{'' if row.requests == 1 else 's'} in the last 36 hours, {refused} refused"
    count = f"{asked if row.requests else 'no requests'}{f', {refused} refused' if row.denials else ''}"
    used = f'{time_from(now, use.last_used_at)}<small class="id">{escaped(use.last_used_from)}</small>' if use else ""
    expires = time_from(now, key.expires_at) if key.expires_at else "Never"
    return Html(f"""<tr>
<td class="tick">{"" if row.state in DEAD else box}</td>
<th scope="row"><a class="name" href="{address}/{key.id}" dir="auto">{name}</a>\
<small><span class="id">{hint}</span> &middot; {_scopes(key.scope_names)}</small></th>
<td class="state" data-l="Status">{said(row.status.tone, row.told(address), "div")}</td>
<td class="count" data-l="Last 36 hours"><svg class="spark" viewBox="0 0 144 28" preserveAspectRatio="none" role="img"\
 aria-label="{told}">{sparkline(row.hours)}</svg><small>{count}</small></td>
<td class="used second" data-l="Last used">{used or "Never used"}</td>
<td class="at second" data-l="Where it is">{_places(row)}</td>
<td class="second" data-l="Expires">{expires}</td>
</tr>""")


@cache
def _scopes(names: str) -> Html:
    return escaped(names.replace(",", ", "))


def _places(row: KeyRow) -> Html:
    if not row.facts.deliveries:
        return Html(f"{_SHOWN} Shown to {escaped(row.creator)}" if row.creator else f"{_SHOWN} Shown")
    seal, places = _SEALED if row.is_sealed else _ON_CLIENT, row.places
    if not places:
        return Html(f"{seal} Nowhere any more")
    more = f"and {len(places) - 1} more" if len(places) > 1 else ""
    if not more and places[0].version:
        more = f"version {version(places[0].version)}"
    return Html(f'{seal} <span dir="auto">{readable(row.facts.place(places[0]))}</span><small>{more}</small>')
