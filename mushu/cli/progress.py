"""How far something has come, on a terminal and nowhere else."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from mushu.terminal import printable


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, and hand out what moves it on by so many bytes."""
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    with click.progressbar(length=total, label=printable(label), file=sys.stderr, hidden=not shown) as bar:
        yield bar.update
