"""How commands print: an answer as JSON or as a table, a secret once, and remarks."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any, Final

import click

from mushu.batching import batches
from mushu.printing import NotPrinted, emit, emit_list, json_text
from mushu.terminal import printable, printable_lines

#: Rows that are waited for before the first are printed: each may be a look at a destination.
_FIRST: Final = 100

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_json(answer: object) -> None:
    """Print JSON with an indent of two, and a list of words on one line."""
    emit(json_text(answer))


def print_done(answer: object) -> None:
    """Print the answer about what was done, which is done also where nobody can read the answer."""
    try:
        print_json(answer)
    except NotPrinted as error:
        note(f"It is done. {error.message}")


def print_once(answer: object, end: Callable[[], str]) -> None:
    """Print an answer with a secret that is shown this one time; what nobody has seen is ended.

    Args:
        end: ends what could not be shown, and says what became of it.

    Raises:
        ClickException: it could not be shown.
    """
    try:
        print_json(answer)
    except NotPrinted as error:
        raise click.ClickException(f"What is shown once could not be printed: {error.reason}. {end()}") from None


def note(remark: str) -> None:
    """Tell the operator something that is no answer."""
    click.echo(printable_lines(remark), err=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, as the rows come: they are as wide as what is printed so far needs.

    Control characters in a cell are escaped, so that no name can paint on the terminal.
    """
    cells = [list(headings)]
    widths = [0] * len(headings)
    for batch in batches(rows, _FIRST):
        cells += [[printable(cell) for cell in row] for row in batch]
        widths = _print_aligned(cells, widths)
        cells = []
    if cells:
        _print_aligned(cells, widths)


def _print_aligned(cells: list[list[str]], widths: list[int]) -> list[int]:
    """Print rows in columns of these widths, or wider where a cell needs it; return the widths."""
    widths = [max(width, *(len(row[column]) for row in cells)) for column, width in enumerate(widths)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    emit("\n".join(line.rstrip() for line in lines))
    return widths


def print_rows(
    answers: Iterable[dict[str, Any]], columns: dict[str, str], *, json_wanted: bool, nothing: str | None = None
) -> None:
    """Print answers, as they come, as JSON or as a table with `columns` (heading by field).

    Args:
        nothing: the sentence that is said in the place of a table without a row.
    """
    if json_wanted:
        emit_list("  " + json_text(answer, "  ") for answer in answers)
        return
    rest = iter(answers)
    first = list(islice(rest, 1))
    if not first and nothing is not None:
        click.echo(nothing)
        return
    rows = ([_cell(answer.get(field)) for field in columns] for answer in chain(first, rest))
    print_table(list(columns.values()), rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)
