"""`script/up`: prepares the instance, then serves it.

The preparation runs in a child: the memory that held the plaintext of a first key is gone before a port is opened. The
modules of the app are loaded before, once: neither the child nor forked workers load them again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from mushu import process
from mushu.lazy_group import loading

with loading():
    from sqlalchemy.exc import DatabaseError

    from mushu.server import logs
    from mushu.server.app import create_app  # once, for the child and the workers
    from mushu.server.config import Settings
    from mushu.server.core import core_context
    from mushu.server.errors import ConfigurationError, MushuError
    from mushu.server.instance import listening
    from mushu.server.machine_faults import explained
    from mushu.server.operation import client_wheel, first_run, housekeeping
    from mushu.server.operation.first_run import Upgrade
    from mushu.server.operation.serving import bindable_address, serve
    from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
    from mushu.terminal import printable, printable_lines

_INTERRUPTED: Final = 130
_SCRIPT: Final = "script/up"


def main(arguments: Sequence[str] | None = None, *, program: str = _SCRIPT) -> None:
    """Set up what is new, print what the operator should know, and serve until a signal ends it.

    Args:
        arguments: those of this process where left out.
        program: what the operator called, for messages.
    """
    process.harden()
    process.keep_files_private()
    os.environ["PYTHONSAFEPATH"] = "1"  # what multiprocessing starts takes no module from the current folder either
    try:
        given = _given(arguments, program)
        settings = Settings.load()
        bindable_address(settings)
        client_wheel.client_wheel()  # once, and before the first fork: what is printed is what all workers offer
        code = _in_child(settings, upgrade_without_copy if given.no_copy else upgrade_with_copy, program)
    except ConfigurationError as error:
        sys.exit(f"{program}: {error.detail}")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    if code != 0:
        sys.exit(code)
    housekeeping.start(settings)
    with listening(settings.instance_path, settings.host, settings.port):
        serve(settings, create_app)


def _given(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    """Return the arguments, with `--host`, `--port` and `--workers` put into the environment, for workers to find."""
    parser = argparse.ArgumentParser(prog=program, description="Set Mushu up where it is new, and serve it.")
    parser.add_argument("--host", help="address to listen on (MUSHU_HOST, 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (MUSHU_PORT, 8000)")
    parser.add_argument("--workers", help="worker processes (MUSHU_WORKERS, 1)")
    parser.add_argument("--no-copy", action="store_true", help="migrate the database without a copy of it")
    given = parser.parse_args(arguments)
    for name in ("host", "port", "workers"):
        if (value := getattr(given, name)) is not None:
            os.environ[f"MUSHU_{name.upper()}"] = value
    return given


def prepare(settings: Settings, upgrade: Upgrade = upgrade_with_copy, program: str = _SCRIPT) -> int:
    """Prepare the instance and print what the operator should read; return the exit status."""
    try:
        logs.configure("WARNING")
        with core_context(lambda: settings) as core:
            for line in first_run.prepare(core, upgrade):
                print(printable(line))  # noqa: T201
    except (MushuError, OSError, DatabaseError) as error:
        sentence = error.detail if isinstance(error, MushuError) else explained(error)
        if sentence is None:
            raise
        print(printable_lines(f"{program}: {sentence}"), file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _in_child(settings: Settings, upgrade: Upgrade = upgrade_with_copy, program: str = _SCRIPT) -> int:
    """Run `prepare` in a forked child and return its exit status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = prepare(settings, upgrade, program)
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
