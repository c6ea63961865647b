"""The usage of one key, or of many, as lines of text with a small chart: what the commands show."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

#: From nothing to the most. In ASCII, for terminals that show no blocks.
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII: Final = " .:-=+*#@"
_LABEL: Final = 16
_KINDS: Final = (
    ("Drifted", "drifted"),
    ("Stalled", "stalled"),
    ("End in 30 days", "expiring"),
    ("Never used", "unused"),
    ("Idle 90 days", "idle"),
    ("Owner left", "owner_left"),
    ("No expiry", "no_expiry"),
)


def usage_lines(answer: Mapping[str, Any], encoding: str | None = None) -> Iterator[str]:
    """Yield what the server answers of the usage of a key, line by line; what it leaves out is left out.

    Args:
        encoding: of what the lines are written to; else that of standard output.
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    yield _line("Requests", f"{answer.get('requests', 0):,}, and {answer.get('denials', 0):,} denials")
    if "last_used_at" in answer:
        yield _line("First used", answer["first_used_at"])
        yield _line("Last used", f"{answer['last_used_at']} from {answer['last_used_from']}")
    if "last_denied_at" in answer:
        yield _line("Last denied", answer["last_denied_at"])
    for label, field in (("Last 24 hours", "hours"), ("Last 30 days", "days")):
        if bars := answer.get(field):
            yield _line(label, _chart(bars, encoding))
    for seen in answer.get("addresses", ()):
        yield _line("Address", f"{seen['address']}, last at {seen['last_used_at']}")
    for denied in answer.get("reasons", ()):
        last = f"last at {denied['last_denied_at']} from {denied['last_denied_from']}"
        times = "once" if denied["denials"] == 1 else f"{denied['denials']:,} times"
        yield _line("Denied", f"{times} {denied['reason']}, {last}")
    for sentence in answer.get("unusual", ()):
        yield _line("Unusual", sentence)


def summary_lines(answer: Mapping[str, Any], encoding: str | None = None) -> Iterator[str]:
    """Yield what the server answers of the keys of an organization, line by line.

    Args:
        encoding: of what the lines are written to; else that of standard output.
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    yield _line("Keys", f"{answer['keys']:,}, and {answer['deleted']:,} deleted")
    for label, field in _KINDS:
        yield _line(label, f"{answer[field]:,}")
    yield _line("Requests", f"{answer['requests']:,} in 24 hours, and {answer['denials']:,} denials")
    yield _line("Last 24 hours", _chart(answer["hours"], encoding))


def _chart(bars: Sequence[Mapping[str, Any]], encoding: str) -> str:
    """Return one letter for each bar, and what the highest one stands for."""
    letters = _BLOCKS if _BLOCKS.encode(encoding, "ignore").decode(encoding) == _BLOCKS else _ASCII
    highest = max(bars, key=lambda bar: bar["requests"])
    most = highest["requests"]
    if not most:
        return "no requests"
    steps = len(letters) - 1
    drawn = "".join(letters[-(-bar["requests"] * steps // most)] for bar in bars)  # rounded up: one request is seen
    return f"|{drawn}| at most {most:,} from {highest['start']}"


def _line(label: str, text: str) -> str:
    return f"{label:{_LABEL}}{text}"
