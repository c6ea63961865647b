"""One grammar of durations: what `flask keys rotate --settle` and HTTP take, `mushu` takes, and the other way round."""

from datetime import timedelta

import click
import pytest

from mushu.cli.options import DurationType
from mushu.duration import duration_of, written_duration
from mushu.server.clock import parse_duration
from mushu.server.errors import Invalid


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90d", timedelta(days=90)),
        (" 12h ", timedelta(hours=12)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations_are_a_number_and_a_unit_on_the_server_and_on_the_client(text: str, duration: timedelta) -> None:
    assert duration_of(text) == duration
    assert parse_duration(text) == duration
    assert DurationType().convert(text, None, None) == duration


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "90 d", "1y", "9999999999d", "٣d", "1d1h"])
def test_anything_else_is_refused_by_both_in_the_same_words(text: str) -> None:
    with pytest.raises(Invalid, match="such as 90d") as on_the_server:
        parse_duration(text, "settle")
    with pytest.raises(click.BadParameter) as on_the_client:
        DurationType().convert(text, None, None)
    assert on_the_server.value.detail == on_the_client.value.message
    assert on_the_server.value.field == "settle"


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=90), "90d"),
        (timedelta(weeks=2), "14d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "61s"),
        (timedelta(seconds=1), "1s"),
        (timedelta(days=100 * 366), "36600d"),
    ],
)
def test_a_duration_is_written_in_the_largest_exact_unit_and_read_back_as_it_was(
    duration: timedelta, text: str
) -> None:
    assert written_duration(duration) == text
    assert duration_of(text) == duration
