"""Which plugin serves a URI, and with which settings: one rule for the server and for the `mushu` command.

The scheme of the URI names the entry point. The variables `MUSHU_AWS_SM_…` are the settings of the scheme `aws-sm`:
whatever is neither a letter nor a digit is an underscore. A URI with a credential is refused before a plugin sees it.
"""

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from mushu.destination.contract import DEFAULT_FIELD, Destination, DestinationError, Surroundings
from mushu.keyformat import CREDENTIAL_PATTERN

ENTRY_POINT_GROUP: Final = "mushu.destinations"

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):")
_USER_INFO: Final = re.compile(r"[^:/?#]*://[^/?#]*@")
_NOT_OF_A_VARIABLE: Final = re.compile(r"[^A-Z0-9]")

#: Opens the destination that a URI names; raises DestinationError.
OpenDestination = Callable[[str], Destination]

#: Answers the settings of the destination with this canonical URI, none where it has none; raises DestinationError.
SettingsFor = Callable[[str], Mapping[str, str]]


def opener(
    base: Path, environ: Mapping[str, str] = os.environ, settings_for: SettingsFor = lambda _: {}
) -> OpenDestination:
    """Return what opens destinations here.

    Args:
        base: relative paths are resolved below it.
        environ: a plugin's settings are its variables `MUSHU_<SCHEME>_…`.
        settings_for: what one destination has of its own, which overrides those.
    """
    plugins = _Plugins()

    def open_here(uri: str) -> Destination:
        common = _common_settings(uri, environ)
        opened = plugins.open(uri, Surroundings(base, {**common, **settings_for(uri)}))
        # Where it was spelled differently, the settings are kept under the one true spelling.
        own = settings_for(opened.uri) if opened.uri != uri else {}
        return plugins.open(opened.uri, Surroundings(base, {**common, **own})) if own else opened

    return open_here


def variable_prefix(scheme: str) -> str:
    """Return how the environment variables begin that hold the settings of a scheme: `MUSHU_AWS_SM_` of `aws-sm`."""
    return f"MUSHU_{_NOT_OF_A_VARIABLE.sub('_', scheme.upper())}_"


def _common_settings(uri: str, environ: Mapping[str, str]) -> dict[str, str]:
    prefix = variable_prefix(uri.partition(":")[0])
    return {name.removeprefix(prefix).lower(): value for name, value in environ.items() if name.startswith(prefix)}


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


def installed_schemes() -> list[str]:
    """Return the schemes of all installed destination plugins, sorted; none of them is imported."""
    return sorted({entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)})


def refuse_unknown_settings(kind: type[Destination], names: Collection[str]) -> None:
    """Make sure that a plugin reads all of these settings, as far as it says which it reads.

    Raises:
        DestinationError: it does not know one; the sentence names that, the nearest that is known, and all; permanent.
    """
    known = kind.known_settings
    for name in sorted(names):
        if known is None or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        read = f"It reads {', '.join(sorted(known))}." if known else "It reads none."
        raise DestinationError(f"{kind.scheme}: has no setting {name}.{guess} {read}", permanent=True)


def holds_credential(uri: str) -> bool:
    """Tell whether something that opens a place stands in `uri`, which is shown to everybody."""
    return bool(CREDENTIAL_PATTERN.search(unquote(uri)) or _USER_INFO.match(uri))


def _extra(plugin: EntryPoint) -> str:
    """Name the extra with which the package of a plugin brings what it needs, where it has one of the same name."""
    extras = plugin.dist.metadata.get_all("Provides-Extra") if plugin.dist is not None else None
    return f" ({plugin.dist.name}[{plugin.name}])" if plugin.dist is not None and plugin.name in (extras or ()) else ""


def _loaded(plugin: EntryPoint) -> type[Destination]:
    try:
        kind: type[Destination] = plugin.load()
    except (ImportError, AttributeError) as error:  # a library, or what the operating system lacks
        raise DestinationError(
            f"The plugin of {plugin.name}: cannot be used on this machine: {error}. Install what it needs"
            f"{_extra(plugin)}, use another destination, or deliver from a machine that has it.",
            permanent=True,
        ) from None
    return kind


def open_destination(uri: str, surroundings: Surroundings) -> Destination:
    """Return the destination that `uri` names, loading only the plugin of its scheme.

    Raises:
        DestinationError: no plugin for the scheme, a credential in the URI, or a fault that the plugin finds with it;
            permanent.
    """
    if holds_credential(uri):
        del uri  # or a traceback that is printed with locals shows it
        raise DestinationError(
            "There is a credential in this URI. Treat it as leaked: what is written on a command line can be read by "
            "others. A destination names only a place; what opens that place is set as its plugin says.",
            permanent=True,
        )
    found = _SCHEME.match(uri)
    plugins = entry_points(group=ENTRY_POINT_GROUP, name=found.group(1)) if found else ()
    for plugin in plugins:
        destination: Destination | None = _loaded(plugin).parse(uri, surroundings)
        if destination is not None:
            return destination
    known = ", ".join(f"{scheme}:" for scheme in installed_schemes()) or "none"
    # The URI is not repeated: a person who mixes up two arguments may have pasted a key here.
    raise DestinationError(
        f"No destination plugin takes this URI. It must begin with the scheme of an installed plugin ({known}), "
        f"for example env:/srv/app/.env#{DEFAULT_FIELD}.",
        permanent=True,
    )
