"""Output: answers on standard output as tables or JSON, everything else on standard error.

Names and sentences come from a server that may be hostile, so nothing that is not printable reaches the terminal.
"""

import itertools
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

import click

from mushu.batching import batches
from mushu.cli.answers import Answer, id_of, without_secrets
from mushu.cli.errors import Failure, misunderstood
from mushu.printing import NotPrinted, emit, emit_list, json_text
from mushu.secret import Secret
from mushu.terminal import printable

_GAP: Final = "  "
_FRAMES: Final = "|/-\\"
_STEP: Final = 0.1
_CLEAR_LINE: Final = "\r\033[K"
#: The order of the answer to a creation; what else the server tells comes after.
_CONTRACT: Final = ("key_id", "key", "name", "scopes", "created_at")
#: What is answered of a delivered key, in the contract's order; never the key.
_OF_DELIVERED: Final = (
    "key_id", "name", "scopes", "created_at", "environment", "expires_at", "rotate_every", "rotate_at", "replaces",
)  # fmt: skip
_PLACES: Final = "delivered_to"
_BOUNDS: Final = ("limits", "networks")


class Column(NamedTuple):
    """One column of a table."""

    field: str
    heading: str
    #: In characters; a column is as wide as its widest cell, and never narrower than this.
    least_width: int = 0
    #: Of a moment, show the day only.
    is_day: bool = False


def colour() -> bool | None:
    """Return Click's answer to whether colours are wanted: None leaves it to whether this is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def say(answer: str) -> None:
    """Print one line of an answer."""
    emit(printable(answer), color=colour())


def note(remark: str) -> None:
    """Tell a person something that is no answer."""
    click.echo(printable(remark), err=True, color=colour())


def print_error(message: str) -> None:
    """Say why the command failed; a credential that got into the sentence is cut down to its prefix."""
    from mushu.keyformat import mask

    click.echo(click.style("Error: ", fg="red") + printable(mask(message)), err=True, color=colour())


def print_json(answer: object) -> None:
    """Print JSON with an indent of two, and a list of words on one line."""
    emit(json_text(answer))


def print_table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print aligned columns under bold headings, as the rows come: as wide as what is printed so far needs."""
    widths = [max(column.least_width, len(column.heading)) for column in columns]
    rest = batches(rows)
    batch = next(rest, [])
    for number, some in enumerate(chain([batch], rest)):
        cells = [[printable(_cell(row.get(column.field), column)) for column in columns] for row in some]
        widths = [max([width, *(_width(row[place]) for row in cells)]) for place, width in enumerate(widths)]
        if not number:
            _print_heading(columns, widths)
        for row in cells:
            padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
            emit(_GAP.join(padded).rstrip(), color=colour())


def _print_heading(columns: Sequence[Column], widths: Sequence[int]) -> None:
    heading = _GAP.join(column.heading.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()
    emit(click.style(heading, bold=True), color=colour())


def print_rows(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], *, json_wanted: bool) -> None:
    """Print a list, as its rows come, as JSON or as a table."""
    if json_wanted:
        emit_list("  " + json_text(row, "  ") for row in rows)
    else:
        print_table(columns, rows)


def print_done(answer: Answer) -> None:
    """Print the answer about what was done, which is done also where nobody can read the answer."""
    try:
        print_json(answer)
    except NotPrinted as error:
        note(f"It is done. {error.message}")


def print_new_key(answer: Answer, end: Callable[[str], str]) -> None:
    """Print the answer about a new key: where the server put it, or the key in it, this one time.

    Args:
        end: ends the key with this id, which could not be shown, and says what became of it.

    Raises:
        WrongAnswer: the key is in no place and not in the answer.
        Failure: the key could not be shown.
    """
    places = answer.get(_PLACES)
    if isinstance(places, list) and places:
        print_done(delivered_answer(without_secrets(answer), places))
        return
    key, key_id = answer.get("key"), id_of(answer, "key_id")
    if not isinstance(key, Secret):
        raise misunderstood("it holds no key")
    ordered = {name: answer[name] for name in _CONTRACT if name in answer} | answer
    try:
        print_json({name: value.reveal() if value is key else value for name, value in ordered.items()})
    except NotPrinted as error:
        raise Failure(f"The key could not be printed: {error.reason}. {end(key_id)}") from None
    if sys.stdout.isatty():
        note("The key is shown this one time. Next time, --to puts it where it is used, unseen.")


def delivered_answer(answer: Answer, places: Sequence[object]) -> Answer:
    """Return what is told of a key that was put into these places, without the key."""
    told = {name: answer[name] for name in _OF_DELIVERED if name in answer}
    return told | {_PLACES: list(places)} | {name: answer[name] for name in _BOUNDS if name in answer}


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, and hand out what moves it on by so many bytes."""
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    with click.progressbar(length=total, label=printable(label), file=sys.stderr, hidden=not shown) as bar:
        yield bar.update


class Spinner:
    """Turns on standard error while `wait` waits; elsewhere it only waits."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._frames = itertools.cycle(_FRAMES)

    def wait(self, seconds: float) -> None:
        if not self._shown:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            sys.stderr.write(f"\r{next(self._frames)} {self._what}")
            sys.stderr.flush()
            time.sleep(min(_STEP, left))
        sys.stderr.write(_CLEAR_LINE)
        sys.stderr.flush()


def _cell(value: object, column: Column) -> str:
    if value is None:
        return "-"
    if column.is_day:
        return str(value)[: len("2026-01-15")]
    return ",".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes: two for a wide character, none for one that combines."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
