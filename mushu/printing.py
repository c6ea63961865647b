"""Printing that is seen to arrive: the reader of a pipe may be gone, a disk full, standard output closed."""

import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import IO, Any, Final

import click

from mushu.batching import batches
from mushu.terminal import escaped, printable

_LAST_STREAM: Final = 2


class NotPrinted(click.ClickException):
    """What was to be printed did not arrive on standard output; exit status 1."""

    def __init__(self, error: OSError) -> None:
        #: Why, as the operating system says it.
        self.reason = error.strerror or type(error).__name__
        self.hung_up = error.errno == errno.EPIPE
        super().__init__(f"The answer could not be printed: {self.reason}.")

    def show(self, file: IO[Any] | None = None) -> None:
        """Say nothing of a reader that had enough, such as `head`."""
        if not self.hung_up:
            super().show(file)


def use_missing_streams() -> None:
    """Where this process was started with a closed stream, read nothing and complain to nobody.

    The numbers of the streams are taken, or the next file that is opened would be one of them. Standard output stays
    missing: what is to be printed there is seen not to arrive.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - open until the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def emit(text: str, *, color: bool | None = None) -> None:
    """Print `text` and a newline on standard output, and see it arrive.

    Raises:
        NotPrinted: it did not. Nothing else is printed by this process.
    """
    if sys.stdout is None:
        raise NotPrinted(OSError(errno.EBADF, "standard output is closed"))
    try:
        click.echo(text, color=color)
    except OSError as error:
        print_no_more()
        raise NotPrinted(error) from None


def emit_list(items: Iterable[str]) -> None:
    """Print a JSON list of items, which are JSON already, as they come.

    Raises:
        NotPrinted: it did not arrive.
    """
    lead, held = "[\n", ""
    for batch in batches(items):
        before = [held, *batch] if held else batch
        held = before.pop()  # no comma follows the last item
        if before:
            emit(lead + ",\n".join(before) + ",")
            lead = ""
    emit(f"{lead}{held}\n]" if held else "[]")


def json_text(value: object, indent: str = "") -> str:
    """Return `value` as JSON with an indent of two, and a list of words on one line.

    Characters that could steer a terminal, or that standard output cannot encode, are escapes, which mean the same.
    """
    text = _indented(value, indent)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if text.encode(encoding, "ignore").decode(encoding) != text:
        return "".join(letter if letter.isascii() else escaped(letter) for letter in text)
    return text


def _indented(value: object, indent: str) -> str:
    inner = f"{indent}  "
    if isinstance(value, Mapping) and value:
        fields = [f"{inner}{_scalar(str(name))}: {_indented(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return "[\n" + ",\n".join(f"{inner}{_indented(item, inner)}" for item in value) + f"\n{indent}]"
    return _scalar(value)


def _scalar(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False))


def print_no_more() -> None:
    """Have what is left in the buffer go nowhere, or Python tries once more when it ends, and complains."""
    with suppress(AttributeError, OSError, ValueError):
        descriptor = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
