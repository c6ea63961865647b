"""Commands that are loaded when they are used, for `mushu`, `mushu-server` and `flask`; and loading without waste."""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar

import click


@contextmanager
def loading() -> Iterator[None]:
    """Have the garbage collector leave alone what modules make: it is there until the process ends.

    It would look through it several times, the last time at the end. That is a fifth of the CPU time of a short
    command, and a tenth of what a server takes until it listens. What it leaves alone, a fork goes on sharing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _loaded(place: str) -> click.Command:
    """Return the command at `module:attribute`."""
    module, _, attribute = place.partition(":")
    if module not in sys.modules:
        with loading():
            import_module(module)
    command: click.Command = getattr(sys.modules[module], attribute)
    return command


class LazyCommand(click.Command):
    """A command, or a group of commands, of which the help of the group above knows the name and one sentence."""

    def __init__(self, name: str, place: str, sentence: str) -> None:
        super().__init__(name, help=sentence)
        self._place = place

    @property
    def loaded(self) -> click.Command:
        return _loaded(self._place)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return a context of the real command: whoever has it runs that one."""
        return self.loaded.make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.command.invoke(ctx)


class LazyGroup(click.Group):
    """A group that loads each command when it is looked for. A subclass names its commands."""

    #: By name: the module that holds the command, a colon, and its attribute.
    modules: ClassVar[Mapping[str, str]]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _loaded(self.modules[cmd_name]) if cmd_name in self.modules else None
