"""How a plugin is called: it is a stranger's code, so every call is guarded, and what may pass is tried again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from mushu.destination.contract import Attempt, Denied, Destination, DestinationError, Holding, Location, Receipt
from mushu.keyformat import mask
from mushu.secret import Secret
from mushu.terminal import printable_lines

Result = TypeVar("Result")

#: Waits so many seconds.
Pause = Callable[[float], None]

#: Characters that the name of a location may have, and the directions to it.
LONGEST_LOCATION: Final = 400

#: Seconds to wait before what did not succeed, and may yet, is tried again.
_PAUSES: Final = (0.2, 0.8)


@dataclass(frozen=True, slots=True, repr=False)  # a plugin's repr may show its settings
class SafeDestination:
    """A destination that raises nothing but a fresh `DestinationError` that shows no credential."""

    plugin: Destination

    def location(self) -> Location:
        found: object = guarded(self.plugin.location)
        if not isinstance(found, Location) or not all(map(_can_be_stored, (found.identity, found.directions))):
            raise DestinationError(
                "The destination plugin names its location by what cannot be stored. Tell its maker.", permanent=False
            )
        return found

    def beside(self, name: str) -> "SafeDestination | None":
        found: object = guarded(lambda: self.plugin.beside(name))
        return SafeDestination(found) if isinstance(found, Destination) else None

    def preflight(self) -> None:
        guarded(self.plugin.preflight)

    def read(self) -> Holding:
        return guarded(self.plugin.read)

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        return guarded(lambda: self.plugin.write(secret, attempt))

    def restore(self, receipt: Receipt) -> bool:
        return guarded(lambda: self.plugin.restore(receipt))

    def remove(self, digest: str) -> bool:
        return guarded(lambda: self.plugin.remove(digest))


def remarks(holding: Holding, key_id: str) -> str:
    """Return what an operator should know about a key that is held, in sentences; empty where all is well."""
    said, label = list(holding.warnings), holding.label
    if label is not None and label.key_id != key_id:
        said.append(f"The key is there, and {label.key_id} is named beside it, which is another. {label.correction}")
    return printable_lines(mask(" ".join(said)))


def _can_be_stored(text: object) -> bool:
    """Tell whether a text can be stored, compared and shown: one short line, and no credential in it."""
    return isinstance(text, str) and len(text) <= LONGEST_LOCATION and text.isprintable() and mask(text) == text


def guarded(act: Callable[[], Result]) -> Result:
    """Call a plugin and let out nothing but a fresh `DestinationError` that shows no credential.

    What a plugin raises may carry a request with the key in it, and so may what that was raised from, and the locals in
    its traceback. So it is replaced, not chained. Of an error that is no `DestinationError` only the name of its type
    goes on; what was done before it is unknown, hence not permanent.
    """
    denied = False
    try:
        return act()
    except DestinationError as error:
        # It may repeat what a server answered, and is kept in the ledger, shown, and logged.
        message = printable_lines(mask(str(error))).strip() or f"The plugin gives no reason ({type(error).__name__})."
        message += "" if message.endswith((".", "!", "?")) else "."  # others go on behind it
        permanent, denied = error.permanent, isinstance(error, Denied)
    except Exception as error:
        message = f"The destination plugin failed unexpectedly ({type(error).__name__}). Tell its maker."
        permanent = False
    if denied:
        raise Denied(message)
    raise DestinationError(message, permanent=permanent)


def patiently(act: Callable[[], Result], pause: Pause) -> Result:
    """Call what may raise `DestinationError` up to three times, for as long as its errors may pass."""
    for seconds in _PAUSES:
        try:
            return act()
        except DestinationError as error:
            if error.permanent:
                raise
        pause(seconds)
    return act()
