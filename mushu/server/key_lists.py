"""Lists of the keys that meet all that is asked, in the order that is asked for."""

from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, literal, select

from mushu.server.db import AnySession, UTCDateTime
from mushu.server.hygiene import Hygiene
from mushu.server.keys.models import ApiKey
from mushu.server.keys.search import Folded
from mushu.server.keys.service import Selection, list_keys
from mushu.server.paging import ComputedOrder, Page, Window, computed_page
from mushu.server.usage import KeyUse
from mushu.server.usage.engine import reading_with_usage

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
_PLACE: Final = "place"  # once by its name: what it is computed from is not computed twice
_LAST_USED_AT: Final = select(KeyUse.last_used_at).where(KeyUse.key_id == ApiKey.id).scalar_subquery()


class Sort(StrEnum):
    """What a list of keys is ordered by."""

    #: Newest first.
    CREATED = "created"
    #: A to Z, whatever the capitals.
    NAME = "name"
    #: The latest first, and keys that were never used after all others.
    LAST_USED = "last_used"
    #: The soonest first, and keys without an end after all others.
    EXPIRES = "expires"


_ORDERS: Final[dict[Sort, ComputedOrder]] = {
    Sort.NAME: ComputedOrder((Folded(ApiKey.name).label(_PLACE), ApiKey.id)),
    Sort.LAST_USED: ComputedOrder(
        (func.coalesce(_LAST_USED_AT, literal(_FIRST, UTCDateTime), type_=UTCDateTime).label(_PLACE), ApiKey.id),
        descending=True,
    ),
    Sort.EXPIRES: ComputedOrder(
        (func.coalesce(ApiKey.expires_at, literal(_LAST, UTCDateTime), type_=UTCDateTime).label(_PLACE), ApiKey.id)
    ),
}


def list_keys_to_look_at(
    session: AnySession,
    now: datetime,
    org_id: str,
    selection: Selection,
    hygiene: Hygiene,
    window: Window,
    sort: Sort = Sort.CREATED,
) -> Page[ApiKey]:
    """Return a page of an organization's keys.

    Newest first, a page is read in the order of an index. In any other order, all keys that are meant are looked at.

    Raises:
        Invalid: the cursor is not one of ours, or what is searched is a whole key.
        DatabaseUnavailable: the use of keys has to be known, and cannot be read.
    """
    selection = replace(selection, conditions=hygiene.conditions(now, org_id))
    if not hygiene.is_of_use and sort is not Sort.LAST_USED:
        return _page(session, org_id, selection, window, sort)
    with reading_with_usage(session) as both:
        return _page(both, org_id, selection, window, sort)


def _page(session: AnySession, org_id: str, selection: Selection, window: Window, sort: Sort) -> Page[Any]:
    if sort is Sort.CREATED:
        return list_keys(session, org_id, selection, window)
    query = select(ApiKey).where(*selection.criteria(org_id), ApiKey.environment.in_(selection.environments))
    return computed_page(session, query, _ORDERS[sort], window)
