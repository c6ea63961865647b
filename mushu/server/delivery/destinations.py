import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from mushu.destination import Destination, DestinationError, Surroundings, open_destination
from mushu.keyformat import mask

Result = TypeVar("Result")

#: Opens the destination that a URI names; raises DestinationError.
OpenDestination = Callable[[str], Destination]

#: Seconds to wait before what did not succeed, and may yet, is tried again.
_PAUSES: Final = (0.2, 0.8)


def opener(base: Path, environ: Mapping[str, str] = os.environ) -> OpenDestination:
    """Return what opens destinations here: relative paths below `base`, a plugin's settings from `MUSHU_<SCHEME>_…`."""

    def open_here(uri: str) -> Destination:
        prefix = f"MUSHU_{uri.partition(':')[0].upper()}_"
        settings = {
            name.removeprefix(prefix).lower(): value for name, value in environ.items() if name.startswith(prefix)
        }
        return open_destination(uri, Surroundings(base=base, settings=settings))

    return open_here


def guarded(act: Callable[[], Result]) -> Result:
    """Call a plugin and let out nothing but a fresh `DestinationError` that shows no credential.

    A plugin is a stranger's code: what it raises may carry a request with the key in it, and so may what that was
    raised from, and the locals in its traceback. So it is replaced, not chained. Of an error that is no
    `DestinationError` only the name of its type goes on; what was done before it is unknown, hence not permanent.
    """
    try:
        return act()
    except DestinationError as error:
        message, permanent = mask(str(error)), error.permanent
    except Exception as error:
        message, permanent = f"The destination plugin failed unexpectedly ({type(error).__name__}).", False
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
