import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from mushu.destination import Destination, DestinationError, Surroundings, open_destination

Result = TypeVar("Result")

#: Opens the destination that a URI names; raises DestinationError.
OpenDestination = Callable[[str], Destination]


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
    """Call a plugin and let out nothing but `DestinationError`.

    A plugin is a stranger's code: whatever else it raises may carry a request with the key in it, so it is replaced,
    not chained, and only the name of its type goes on. What it did before is unknown, hence not permanent.
    """
    try:
        return act()
    except DestinationError:
        raise
    except Exception as error:
        name = type(error).__name__
    raise DestinationError(f"The destination plugin failed unexpectedly ({name}).", permanent=False)
