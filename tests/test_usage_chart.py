"""The usage of a key as text."""

from mushu.usage_chart import usage_lines


def test_one_request_is_seen_beside_the_most_and_nothing_is_no_bar() -> None:
    hours = [
        {"start": f"2026-01-15T0{hour}:00:00Z", "requests": number} for hour, number in enumerate((0, 1, 500, 1000))
    ]
    answer = {"requests": 1_501, "denials": 2, "hours": hours, "days": hours[:1], "unusual": ["It is."]}
    assert [*usage_lines(answer, "utf-8")] == [
        "Requests        1,501, and 2 denials",
        "Last 24 hours   | ▁▄█| at most 1,000 from 2026-01-15T03:00:00Z",
        "Last 30 days    no requests",
        "Unusual         It is.",
    ]
    assert "| .=@|" in "".join(usage_lines(answer, "ascii"))
