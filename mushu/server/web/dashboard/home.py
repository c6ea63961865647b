"""Home: what an organization's keys need, what was asked of late, what is unusual, and what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Response
from humanize import apnumber

from mushu.server.audit import newest_events
from mushu.server.core import get_core
from mushu.server.destinations import read_destinations
from mushu.server.environments import Reader
from mushu.server.figures import KeyCounts
from mushu.server.keys import Scope
from mushu.server.keys.service import read_moving_keys, read_moving_of_many
from mushu.server.keys.states import State
from mushu.server.orgs.settings import rules_of
from mushu.server.usage.engine import reading_with_usage
from mushu.server.usage.report import UnusualKey
from mushu.server.web.dashboard.charts import BY_HOUR, Chart, chart
from mushu.server.web.dashboard.key_rows import KeyRow, rows_of
from mushu.server.web.dashboard.shell import is_admin, page
from mushu.server.web.dashboard.trail import TrailLine, trail_of
from mushu.server.web.guard import current_environment, current_reader, org_page

#: Events, and keys on the move, that are shown.
_LATEST: Final = 6
#: Keys that are not looked at one by one for each page.
_VERY_MANY: Final = 1_000
#: What comes with each creation and rotation by itself: one event of these is told, not four; the audit log has all.
_WITH_IT: Final = ("key.activated", "key.retiring")
_MOVING: Final = (State.PENDING, State.RETIRING)
#: The cards: words, which of the counts, the shape where it is not 0, and the parameters of the list that it opens.
_TILES: Final = (
    ("Drifted", "drifted", "bad", {"need": "drifted"}),
    ("Rotation stalled", "stalled", "bad", {"need": "stalled"}),
    ("Expire in 30 days", "expiring", "warn", {"expiry": "soon"}),
    ("Never used", "unused", "", {"use": "never"}),
    ("Idle for 90 days", "idle", "", {"use": "idle"}),
    ("Owner left", "owner_left", "", {"need": "left"}),
    ("No expiry", "no_expiry", "", {"expiry": "none"}),
)


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """What Home shows of an organization and environment."""

    counts: KeyCounts
    chart: Chart
    unusual: Sequence[UnusualKey]
    latest: Sequence[TrailLine]
    #: Keys that wait for a delivery or for a first use.
    moving: Sequence[KeyRow]
    #: Whether new keys have to have an end.
    has_max_age: bool
    #: The name of a destination, where there is one.
    destination: str | None

    @property
    def headline(self) -> str:
        """Return what needs attention, which is the news."""
        wrong = self.counts.drifted + self.counts.stalled
        if not wrong:
            return "All keys are as they should be"
        return f"{apnumber(wrong).capitalize()} key{' needs' if wrong == 1 else 's need'} attention"

    @property
    def is_new(self) -> bool:
        return not self.counts.keys + self.counts.deleted


@org_page(Scope.READ)
def show_home(org_id: str) -> Response:
    """Show what the keys need; to who may not manage keys, what there is for them."""
    if not is_admin():
        return page("member_home")
    now = get_core().clock()
    with reading_with_usage(current_reader()) as reader:
        found = _figures(reader, now, org_id)
    return page("first_steps" if found.is_new else "home", found=found, tiles=_TILES)


def _figures(reader: Reader, now: datetime, org_id: str) -> HomeFigures:
    environment = current_environment()
    figures = get_core().figures.of(reader, now, org_id, environment)
    read = read_moving_of_many if figures.counts.keys + figures.counts.deleted > _VERY_MANY else read_moving_keys
    moving = [key for key in read(reader, org_id, environment, _LATEST) if key.state(now) in _MOVING]
    news = [one for one in newest_events(reader, org_id, 4 * _LATEST) if one.action not in _WITH_IT][:_LATEST]
    return HomeFigures(
        counts=figures.counts,
        chart=chart(figures.hours, BY_HOUR, ""),
        unusual=get_core().figures.unusual(reader, now, org_id, environment),
        latest=trail_of(reader, news),
        moving=rows_of(reader, now, org_id, moving),
        has_max_age=rules_of(reader, org_id).max_key_age is not None,
        destination=next(iter(read_destinations(reader, org_id, 1)), None),
    )


PAGES: Final = (("GET", "/", show_home),)
