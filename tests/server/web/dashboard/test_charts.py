"""Charts tell what was counted: in bars, in words, and as a table."""

from datetime import UTC, datetime, timedelta

from mushu.server.usage.report import Bar
from mushu.server.web.dashboard.charts import BY_DAY, BY_HOUR, BY_MONTH, chart, sparkline

START = datetime(2026, 11, 25, 15, tzinfo=UTC)


def bars(*values: tuple[int, int], step: timedelta = timedelta(hours=1)) -> list[Bar]:
    return [Bar(START + step * place, *value) for place, value in enumerate(values)]


def test_requests_and_what_was_refused_have_a_row_and_a_scale_each() -> None:
    made = chart(bars((2_000, 0), (0, 3), (1_000, 0), (500, 1)), BY_HOUR, "by 2 keys")
    requests, refused = made.panels
    assert (requests.total, requests.label, requests.peak) == (3_500, "requests by 2 keys", "at most 2,000 in one hour")
    assert (refused.total, refused.low, refused.paths[0].kind) == (4, True, "no")
    assert requests.paths[0].line.startswith("M1.5 4h7v96h-7z")
    assert requests.paths[0].line.count("M") == 3
    assert "M11.5 4h7v96h-7z" in refused.paths[0].line, "the highest of each row is as high"
    assert requests.titles[0] == "15:00 to 16:00: 2,000 requests"
    assert requests.width == 40
    assert made.marks == ["15:00", "16:00", "17:00", "18:00", "now"]
    assert made.rows[1] == ("16:00 to 17:00", 0, 3)
    assert "3,500 requests in the last day, at most 2,000 in one hour" in requests.alt


def test_the_least_of_what_is_not_nothing_can_be_seen() -> None:
    made = chart(bars((1, 0), (1_000_000, 0)), BY_HOUR, "")
    assert made.panels[0].paths[0].line.startswith("M1.5 98.5h7v1.5h-7z")


def test_where_nothing_was_asked_there_is_a_row_without_bars() -> None:
    made = chart(bars((0, 0)), BY_DAY, "")
    assert [(panel.total, panel.paths, panel.peak) for panel in made.panels] == [(0, [], "")]
    assert made.rows == [("25 November", 0, 0)]
    assert chart(bars((1, 0)), BY_MONTH, "").rows == [("November 2026", 1, 0)]


def test_a_small_chart_puts_what_was_refused_on_what_was_asked() -> None:
    axis, asked, refused = sparkline([(2, 13, 0), (0, 26, 1), (3, 0, 4)]).split("/>")[:-1]
    assert axis == '<path class="axis" d="M0 27.5h144"'
    assert asked == '<path d="M10 28v-13M2 28v-26"'
    assert refused == '<path class="no" d="M2 2v-1M14 28v-4"'
    assert sparkline([]) == sparkline([(4, 0, 0)]) == axis + "/>"
    assert sparkline([(35, 1, 0)]).count("<path") == sparkline([(35, 0, 1)]).count("<path") == 2
