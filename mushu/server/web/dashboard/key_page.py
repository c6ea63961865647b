"""One key: its facts, where it is, how it is used and from where, what is unusual, and what happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import Response, request

from mushu.duration import written_duration
from mushu.server import rate_limits
from mushu.server.audit import newest_events_about
from mushu.server.core import get_core
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.environments import Reader
from mushu.server.keys import Scope, written_networks
from mushu.server.keys.records import KeyBounds
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.keys.service import read_key_of
from mushu.server.orgs.settings import rules_of
from mushu.server.usage.engine import reading_with_usage
from mushu.server.usage.report import UsageReport, usage_of
from mushu.server.web.dashboard.charts import BY_DAY, BY_HOUR, BY_MONTH, Chart, chart
from mushu.server.web.dashboard.key_form import PERMITS
from mushu.server.web.dashboard.key_rows import KeyRow, rows_of
from mushu.server.web.dashboard.shell import page
from mushu.server.web.dashboard.trail import TrailLine, trail_of
from mushu.server.web.guard import current_environment, current_reader, org_page
from mushu.server.web.sessions import require_session_user

#: Events that are shown; the audit trail has the others.
_NEWEST: Final = 20
#: What was found at a destination: the shape, and words before the moment.
_FOUND: Final = {
    Condition.OK: ("ok", "Still there,"),
    Condition.DRIFTED: ("bad", "Holds something else,"),
    Condition.MISSING: ("bad", "Not there,"),
    Condition.UNREACHABLE: ("warn", "Did not answer,"),
    Condition.DENIED: ("warn", "Does not let Mushu look,"),
}
_STATES: Final = {
    DeliveryState.PENDING: ("wait", "Not proven yet"),
    DeliveryState.DELIVERED: ("wait", "Written, and not read back yet"),
    DeliveryState.VERIFIED: ("ok", "Proven"),
    DeliveryState.FAILED: ("bad", "Failed"),
    DeliveryState.REPLACED: ("off", "Another key was delivered over it"),
    DeliveryState.REMOVED: ("off", "Taken away"),
}


@dataclass(frozen=True, slots=True)
class PlaceLine:
    """A destination of the key, and what was last found there."""

    delivery: Delivery
    name: str
    tone: str
    words: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyDossier:
    """All that is shown of one key."""

    bounds: KeyBounds
    row: KeyRow
    usage: UsageReport
    #: The keys before and after it, by id.
    replaces: str | None
    replaced_by: str | None
    rotates_every: str | None
    #: How long the organization lets a new key live.
    max_age: str | None
    trail: Sequence[TrailLine]
    has_more_trail: bool

    @property
    def limits(self) -> str:
        """Return how often the key may be used; empty where it may be as often as it likes."""
        return ", ".join(rate_limits.written(self.bounds.limits) or ())

    @property
    def networks(self) -> list[str]:
        """Return from where the key may be used; nothing where it may be from everywhere."""
        return [*(written_networks(self.bounds.networks) or ())]

    @property
    def places(self) -> list[PlaceLine]:
        return [_place(delivery, self.row.facts.place(delivery)) for delivery in self.row.facts.deliveries]

    @property
    def can_be_checked(self) -> bool:
        """Tell whether the server can look if the key is still somewhere."""
        return any(one.state == DeliveryState.VERIFIED and not one.on_client for one in self.row.facts.deliveries)

    def chart(self, period: str) -> Chart:
        """Return the requests of a day, a month or a year."""
        match period:
            case "month":
                return chart(self.usage.days, BY_DAY, "")
            case "year":
                return chart(self.usage.months, BY_MONTH, "")
            case _:
                return chart(self.usage.hours, BY_HOUR, "")


@org_page(Scope.ADMIN)
def show_key(org_id: str, key_id: str) -> Response:
    """Show one key, deleted ones included."""
    now = get_core().clock()
    with reading_with_usage(current_reader()) as reader:
        found = _dossier(reader, now, org_id, key_id)
    period, key = request.args.get("usage", "day"), found.row.key
    return page("key", found=found, row=found.row, key=key, state=found.row.state, period=period, permits=PERMITS)


def _dossier(reader: Reader, now: datetime, org_id: str, key_id: str) -> KeyDossier:
    key, bounds = read_key_of(reader, org_id, current_environment(), key_id)
    rotations = list_rotations_among(reader, [key.id])
    events = newest_events_about(reader, org_id, key.id, _NEWEST + 1)
    max_age, every = rules_of(reader, org_id).max_key_age, bounds.rotate_every
    return KeyDossier(
        bounds=bounds,
        row=rows_of(reader, now, org_id, [key])[0],
        usage=usage_of(reader, now, key),
        replaces=next((one.predecessor_id for one in rotations if one.successor_id == key.id), None),
        replaced_by=next(
            (one.successor_id for one in rotations if one.predecessor_id == key.id and one.handed_over_at), None
        ),
        rotates_every=written_duration(timedelta(seconds=every)) if every is not None else None,
        max_age=written_duration(max_age) if max_age is not None else None,
        trail=trail_of(reader, events[:_NEWEST]),
        has_more_trail=len(events) > _NEWEST,
    )


def _place(delivery: Delivery, name: str) -> PlaceLine:
    if delivery.state == DeliveryState.VERIFIED and delivery.condition and delivery.checked_at:
        tone, words = _FOUND[Condition(delivery.condition)]
        return PlaceLine(delivery, name, tone, words, delivery.checked_at)
    tone, words = _STATES[DeliveryState(delivery.state)]
    if delivery.error:
        is_told = delivery.on_client or require_session_user().operator_since is not None
        words = f"{words}: {delivery.error}" if is_told else f"{words}. An operator sees why."
    return PlaceLine(delivery, name, tone, words, delivery.removed_at)


PAGES: Final = (("GET", "/keys/<key_id>", show_key),)
