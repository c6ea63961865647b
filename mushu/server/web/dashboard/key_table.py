"""The table of keys as markup: each row is one text, because a page draws fifty of them.

What a row shows is `Html`: mypy takes no text of others for it, which `escaped` and `readable` turn into it.
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
    key, use = row.key, row.facts.use
    return _markup(
        pick=Html("") if row.state in DEAD else _pick(Html(key.id), escaped(key.name)),
        href=Html(f"{address}/{key.id}"),
        name=readable(key.name),
        hint=Html(escaped(key.hint).replace("…", "&hellip;")),
        scopes=_scopes(key.scope_names),
        status=said(row.status.tone, row.told(address), "div"),
        requests=Html(f"{row.requests:,} request{'' if row.requests == 1 else 's'}"),
        denials=Html(f"{row.denials:,}"),
        spark=sparkline(row.hours),
        count=_count(row.requests, row.denials),
        used=_used(time_from(now, use.last_used_at), escaped(use.last_used_from)) if use else Html("Never used"),
        places=_places(row),
        expires=time_from(now, key.expires_at) if key.expires_at else Html("Never"),
    )


def _markup(
    *, pick: Html, href: Html, name: Html, hint: Html, scopes: Html, status: Html, requests: Html,
    denials: Html, spark: Html, count: Html, used: Html, places: Html, expires: Html,
) -> Html:  # fmt: skip
    return Html(f"""<tr>
<td class="tick">{pick}</td>
<th scope="row"><a class="name" href="{href}" dir="auto">{name}</a>\
<small><span class="id">{hint}</span> &middot; {scopes}</small></th>
<td class="state" data-l="Status">{status}</td>
<td class="count" data-l="Last 36 hours"><svg class="spark" viewBox="0 0 144 28" preserveAspectRatio="none" role="img"\
 aria-label="{requests} in the last 36 hours, {denials} refused">{spark}</svg><small>{count}</small></td>
<td class="used second" data-l="Last used">{used}</td>
<td class="at second" data-l="Where it is">{places}</td>
<td class="second" data-l="Expires">{expires}</td>
</tr>""")


def _pick(key_id: Html, name: Html) -> Html:
    return Html(f'<input class="box" type="checkbox" name="key.{key_id}" value="yes" aria-label="Pick {name}">')


@cache
def _scopes(names: str) -> Html:
    return escaped(names.replace(",", ", "))


def _count(requests: int, denials: int) -> Html:
    asked = f"{requests:,}" if requests else "no requests"
    return Html(f"{asked}, {denials:,} refused" if denials else asked)


def _used(moment: Html, source: Html) -> Html:
    return Html(f'{moment}<small class="id">{source}</small>')


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
