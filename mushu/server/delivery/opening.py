import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from mushu.destination import (
    Denied,
    Destination,
    DestinationError,
    Surroundings,
    holds_credential,
    open_destination,
)
from mushu.keyformat import mask
from mushu.terminal import printable_lines

Result = TypeVar("Result")

#: Opens the destination that a URI names; raises DestinationError.
OpenDestination = Callable[[str], Destination]

#: Answers the settings of the place with this canonical URI, none where it has none; raises DestinationError.
SettingsFor = Callable[[str], Mapping[str, str]]

#: Seconds to wait before what did not succeed, and may yet, is tried again.
_PAUSES: Final = (0.2, 0.8)


def opener(
    base: Path, environ: Mapping[str, str] = os.environ, settings_for: SettingsFor = lambda _: {}
) -> OpenDestination:
    """Return what opens destinations here.

    Args:
        base: relative paths are resolved below it.
        environ: a plugin's settings are its variables `MUSHU_<SCHEME>_…`.
        settings_for: what one place has of its own, which overrides those.
    """
    plugins = _Plugins()

    def open_here(uri: str) -> Destination:
        prefix = f"MUSHU_{uri.partition(':')[0].upper()}_"
        common = {
            name.removeprefix(prefix).lower(): value for name, value in environ.items() if name.startswith(prefix)
        }
        opened = plugins.open(uri, Surroundings(base, {**common, **settings_for(uri)}))
        # Where it was spelled differently, the settings are kept under the one true spelling.
        own = settings_for(opened.uri) if opened.uri != uri else {}
        return plugins.open(opened.uri, Surroundings(base, {**common, **own})) if own else opened

    return open_here


class _Plugins:
    """Remembers the plugin of each scheme: to search all that is installed takes milliseconds, for every opening."""

    def __init__(self) -> None:
        self._found: dict[str, type[Destination]] = {}

    def open(self, uri: str, surroundings: Surroundings) -> Destination:
        scheme = uri.partition(":")[0]
        # What holds a credential is refused by `open_destination`, before a plugin sees it.
        known = None if holds_credential(uri) else self._found.get(scheme)
        opened = known.parse(uri, surroundings) if known else None
        if opened is None:
            opened = open_destination(uri, surroundings)
            self._found[scheme] = type(opened)
        return opened


def guarded(act: Callable[[], Result]) -> Result:
    """Call a plugin and let out nothing but a fresh `DestinationError` that shows no credential.

    A plugin is a stranger's code: what it raises may carry a request with the key in it, and so may what that was
    raised from, and the locals in its traceback. So it is replaced, not chained. Of an error that is no
    `DestinationError` only the name of its type goes on; what was done before it is unknown, hence not permanent.
    """
    denied = False
    try:
        return act()
    except DestinationError as error:
        # It may repeat what a server answered, and is kept in the ledger, shown, and logged.
        message = printable_lines(mask(str(error)))
        permanent, denied = error.permanent, isinstance(error, Denied)
    except Exception as error:
        message, permanent = f"The destination plugin failed unexpectedly ({type(error).__name__}).", False
    if denied:
        raise Denied(message)
    raise DestinationError(message, permanent=permanent)


def patiently(act: Callable[[], Result], pause: Callable[[float], None]) -> Result:
    """Call what may raise `DestinationError` up to three times, for as long as its errors may pass."""
    for seconds in _PAUSES:
        try:
            return act()
        except DestinationError as error:
            if error.permanent:
                raise
        pause(seconds)
    return act()
