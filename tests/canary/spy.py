"""Runs a command under the eye of a debugger: `python -m tests.canary.spy FOLDER PLANT flask keys create …`.

All that a curious or careless tool could write down of the process goes to files in FOLDER: every record of every
logger at every level, every statement that SQLite runs with its values, every program that is started with its
arguments and environment, and the locals of every frame of every exception that somebody gets to handle.
PLANT names a leak to make on purpose (`planting.py`), or is `nothing`.
"""

import logging
import os
import sqlite3.dbapi2
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_STARTING: Final = frozenset(
    {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.putenv", "syslog.syslog"}
)


class Spy:
    """Writes what it sees to files of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, channel: str, text: str) -> None:
        # Opened anew each time: children are forked, and each writes to its own.
        with (self._folder / f"{channel}-{os.getpid()}").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")

    def exception(self, error: BaseException) -> None:
        """Write down the error with all that hangs on it, also where it was said not to show."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            found = waiting.pop()
            if found is None or id(found) in seen:
                continue
            seen.add(id(found))
            frames = traceback.StackSummary.extract(
                traceback.walk_tb(found.__traceback__), capture_locals=True, lookup_lines=False
            )
            places = "".join(f"\n  {frame.name}: {frame.locals}" for frame in frames)
            self.write("traceback", f"{found!r} {found.args!r} {vars(found)!r}{places}")
            waiting += [found.__cause__, found.__context__]


def watch(spy: Spy) -> None:
    """Put the spy wherever something passes by."""
    _watch_logs(spy)
    _watch_exceptions(spy)

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTING:
            spy.write("started", f"{event} {arguments!r}")

    sys.addaudithook(audited)
    real = sqlite3.dbapi2.connect

    def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*arguments, **named)
        connection.set_trace_callback(lambda statement: spy.write("sqlite", statement))
        return connection

    sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


def _watch_logs(spy: Spy) -> None:
    def handle(_: logging.Logger, record: logging.LogRecord) -> None:
        spy.write("log", f"{record.name} {record.levelname} {record.getMessage()} {vars(record)!r}")
        if record.exc_info and record.exc_info[1] is not None:
            spy.exception(record.exc_info[1])

    real = logging.Logger.handle

    def both(self: logging.Logger, record: logging.LogRecord) -> None:
        handle(self, record)
        real(self, record)

    logging.Logger.handle = both  # type: ignore[method-assign]
    logging.Logger.isEnabledFor = lambda self, level: True  # type: ignore[method-assign]


def _watch_exceptions(spy: Spy) -> None:
    import click
    from flask import Flask

    def noticing(real: Callable[..., Any], position: int) -> Callable[..., Any]:
        def noticed(*arguments: Any, **named: Any) -> Any:
            spy.exception(arguments[position])
            return real(*arguments, **named)

        return noticed

    click.ClickException.show = noticing(click.ClickException.show, 0)  # type: ignore[method-assign]
    click.UsageError.show = noticing(click.UsageError.show, 0)  # type: ignore[method-assign]
    Flask.handle_user_exception = noticing(Flask.handle_user_exception, 1)  # type: ignore[method-assign]
    sys.excepthook = noticing(sys.excepthook, 1)


def main() -> None:
    folder, plant, program, *arguments = sys.argv[1:]
    spy = Spy(Path(folder))
    watch(spy)
    sys.argv = [program, *arguments]
    if plant != "nothing":
        from tests.canary import planting

        planting.plant(plant, Path(folder))
    _run(program)


def _run(program: str) -> None:
    if program == "flask":
        from flask.cli import main as flask

        flask()
    elif program == "mushu":
        from mushu.cli.main import main as mushu

        mushu()
    else:
        from mushu.server.up import main as up

        up()


if __name__ == "__main__":
    main()
