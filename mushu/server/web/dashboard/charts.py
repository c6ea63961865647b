"""Charts as paths of SVG, drawn on the server: no script, any width, and a table behind each.

The requests have a row of bars, and what was refused a row and a scale of its own: beside 2,000, 3 could not be seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Final

from mushu.server.figures import HOURS_OF_A_KEY, UsedHour
from mushu.server.usage.report import Bar
from mushu.server.web.markup import Html, escaped

#: A bar is 7 wide in a column of 10, and the highest leaves 4 of 100 free.
_COLUMN: Final = 10
_HIGHEST: Final = 96
#: The least of what is not nothing.
_LEAST: Final = 1.5
#: Of a small chart: the height, and from one bar to the next.
_SMALL: Final = 28
_TALLEST: Final = _SMALL - 1
_STEP: Final = 4
_AXIS: Final = Html(f'<path class="axis" d="M0 27.5h{_STEP * HOURS_OF_A_KEY}"/>')
#: What each hour of a day is called.
_HOURS: Final = tuple(f"{hour:02}:00 to {(hour + 1) % 24:02}:00" for hour in range(24))


@dataclass(frozen=True, slots=True)
class Scale:
    """How the bars of a chart are called: one by one, along the axis, and together."""

    one: Callable[[datetime], str]
    axis: Callable[[datetime], str]
    #: As "hour" and "day".
    unit: str
    #: As "in the last day".
    span: str
    #: How many names stand along the axis, besides "now".
    marks: int = 4


@dataclass(frozen=True, slots=True)
class PlotPath:
    """A line of SVG, and the class that colours it."""

    kind: str
    line: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of bars."""

    total: int
    label: str
    peak: str
    alt: str
    paths: Sequence[PlotPath]
    titles: Sequence[str]
    low: bool = False

    @property
    def width(self) -> int:
        return _COLUMN * len(self.titles)

    def __html__(self) -> str:
        low = " low" if self.low else ""
        return f"""<p><span><b>{self.total:,}</b> {escaped(self.label)}</span><small>{self.peak}</small></p>
<svg class="plot{low}" viewBox="0 0 {self.width} 100" preserveAspectRatio="none" role="img" aria-label="{self.alt}">\
{"".join([_path(path) for path in self.paths])}{"".join(map(_column, count(0, _COLUMN), self.titles))}</svg>"""


@dataclass(frozen=True, slots=True)
class Chart:
    """One or two rows of bars over one axis, and the same as a table."""

    panels: Sequence[Panel]
    marks: Sequence[str]
    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, int, int]]

    def __html__(self) -> str:
        """Return the chart as markup; nothing in it comes from others."""
        first, *others = self.heads
        heads = "".join([f'<th scope="col" class="num">{head}</th>' for head in others])
        return f"""<figure class="chart">
{"".join([panel.__html__() for panel in self.panels])}
<div class="hours" aria-hidden="true">{"".join([f"<span>{mark}</span>" for mark in self.marks])}</div>
<details><summary>The same as a table</summary>
<table><caption>{self.caption}</caption>
<thead><tr><th scope="col">{first}</th>{heads}</tr></thead>
<tbody>{"".join([_table_row(*row) for row in self.rows])}</tbody></table></details>
</figure>"""


def _path(path: PlotPath) -> str:
    kind = f' class="{path.kind}"' if path.kind else ""
    return f'<path{kind} d="{path.line}"/>'


def _column(left: int, title: str) -> str:
    return f'<rect x="{left}" width="10" height="100"><title>{title}</title></rect>'


def _table_row(name: str, requests: int, denials: int) -> str:
    return f'<tr><th scope="row">{name}</th><td class="num">{requests:,}</td><td class="num">{denials:,}</td></tr>'


def _hour(start: datetime) -> str:
    return _HOURS[start.hour]


def _day(start: datetime) -> str:
    return f"{start.day} {start:%B}"


BY_HOUR: Final = Scale(_hour, lambda start: f"{start.hour:02}:00", "hour", "in the last day")
BY_DAY: Final = Scale(_day, _day, "day", "in the last 30 days", marks=3)
BY_MONTH: Final = Scale(lambda start: f"{start:%B %Y}", lambda start: f"{start:%b %Y}", "month", "in the last year", 2)


def chart(bars: Sequence[Bar], scale: Scale, whose: str, *, low: bool = False) -> Chart:
    """Return the chart of some hours, days or months, oldest first.

    Args:
        whose: what the requests are of, as "by 41 keys".
        low: whether the bars are to take little room.
    """
    requests, denials = [bar.requests for bar in bars], [bar.denials for bar in bars]
    names = [scale.one(bar.start) for bar in bars]
    asked = "request" if sum(requests) == 1 else "requests"
    panels = [_panel(requests, names, scale, f"{asked} {whose}".strip(), "", low=low)]
    if any(denials):
        panels.append(_panel(denials, names, scale, "refused, on a scale of their own", "no", low=True))
    every = max(1, len(bars) // scale.marks)
    return Chart(
        panels=panels,
        marks=[*(scale.axis(bar.start) for bar in bars[::every]), "now"],
        caption=f"Requests {scale.span} by {scale.unit}, UTC",
        heads=[scale.unit.capitalize(), "Requests", "Refused"],
        rows=[*zip(names, requests, denials, strict=True)],
    )


def _panel(values: Sequence[int], names: Sequence[str], scale: Scale, label: str, kind: str, *, low: bool) -> Panel:
    total, peak, what = sum(values), max(values, default=0), "refused" if kind else "requests"
    return Panel(
        total=total,
        label=label,
        peak=f"at most {peak:,} in one {scale.unit}" if total else "",
        alt=f"{total:,} {what} {scale.span}, at most {peak:,} in one {scale.unit}",
        paths=[PlotPath(kind, _bars(values, peak))] if total else [],
        titles=[f"{name}: {value:,} {what}" for name, value in zip(names, values, strict=True)],
        low=low,
    )


def _bars(values: Sequence[int], peak: int) -> str:
    heights = (max(_LEAST, value * _HIGHEST / peak) if value else 0 for value in values)
    return "".join(
        f"M{place * _COLUMN + 1.5:g} {100 - height:.4g}h7v{height:.4g}h-7z"
        for place, height in enumerate(heights)
        if height
    )


def sparkline(used: Sequence[UsedHour]) -> Html:
    """Return the paths of the small chart of a key: what was refused stands on what was asked, in another colour."""
    peak = 0
    for _, requests, denials in used:  # loops: a page has fifty of these, mostly of one or two hours
        if requests + denials > peak:
            peak = requests + denials
    if not peak:
        return _AXIS
    asked = refused = ""
    for place, requests, denials in used:
        below = -(-requests * _TALLEST // peak)  # rounded up: the least can be seen
        asked += _STROKES[place][below]
        if denials:
            refused += _stroke(place, below, -(-denials * _TALLEST // peak))
    drawn = f'{_AXIS}<path d="{asked}"/>' if asked else _AXIS
    return Html(f'{drawn}<path class="no" d="{refused}"/>' if refused else drawn)


@lru_cache(maxsize=4_096)
def _stroke(place: int, below: int, height: int) -> str:
    return f"M{place * _STEP + 2} {_SMALL - below}v-{height}"


#: By place and height: what was asked begins at the foot.
_STROKES: Final = tuple(
    ("", *[_stroke(place, 0, height) for height in range(1, _SMALL)]) for place in range(HOURS_OF_A_KEY)
)
