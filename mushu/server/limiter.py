"""Takes a request from all windows that it counts in, or from none, and says what is left as HTTP has it.

What is left is told in the fields `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10: each a
list of structured fields (RFC 9651). A store that fails decides nothing: the request does not pass, and its key is not
called bad.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol

from mushu.server.errors import LimiterUnavailable, RateLimited
from mushu.server.rate_limits import LimitWindow, Unit

_LOG: Final = logging.getLogger(__name__)

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left in a window, and for how long."""

    window: LimitWindow
    remaining: int
    #: Seconds until the window ends; None: never.
    resets_in: float | None


class WindowStore(Protocol):
    """Counts requests in windows."""

    def take(self, requests: Sequence[Sequence[LimitWindow]], now: float) -> list[tuple[bool, list[Standing]]]:
        """Count each request in all of its windows, or in none where one is full; and return which, and what is left.

        Where the store fails, none of the requests was counted.

        Args:
            requests: the windows of each.
            now: seconds since 1970.
        """

    def make(self) -> None:
        """Make what it counts in, where there is none; called when a server starts, and never by a request."""

    def check(self) -> str:
        """Return where it counts."""

    def sweep(self, now: float) -> int:
        """Forget windows that have ended, and return how many."""


class Limiter:
    """Counts requests in one store."""

    def __init__(self, store: WindowStore) -> None:
        self._store = store

    def prepare(self) -> None:
        """Have the store make what it counts in; where it cannot, what has no limits works on."""
        try:
            self._store.make()
        except Exception as error:  # each store has errors of its own
            _LOG.error("requests cannot be counted", extra={"cause": f"{type(error).__name__}: {error}"})

    def take(self, windows: Sequence[LimitWindow], now: float) -> Fields:
        """Count one request, and return what to tell of what is left.

        Args:
            now: seconds since 1970.

        Raises:
            RateLimited: a window is full; nothing was counted.
            LimiterUnavailable: the store cannot tell.
        """
        (told,) = self.take_each([windows], now)
        if isinstance(told, RateLimited):
            raise told
        return told

    def take_each(self, requests: Sequence[Sequence[LimitWindow]], now: float) -> list[Fields | RateLimited]:
        """Count several requests at once, each as `take` does, and return for each what is left or why it is refused.

        Raises:
            LimiterUnavailable: the store cannot tell; none of them was counted.
        """
        try:
            taken = self._store.take(requests, now)
        except Exception as error:  # each store has errors of its own
            _LOG.error("requests cannot be counted", extra={"cause": f"{type(error).__name__}: {error}"})
            raise LimiterUnavailable(
                "The requests of this key are limited, and cannot be counted now. Run `flask doctor` on the server."
            ) from error
        return [
            _fields(standings) if passes else _refusal(standings, _fields(standings)) for passes, standings in taken
        ]


def _fields(standings: Sequence[Standing]) -> Fields:
    policies, left = [], []
    for standing in standings:
        window = standing.window
        policies.append(f'"{window.label}";q={window.amount}' + (f";w={window.seconds}" if window.seconds else ""))
        resets = "" if standing.resets_in is None else f";t={ceil(standing.resets_in)}"
        left.append(f'"{window.label}";r={standing.remaining}{resets}')
    return ("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(left))


def _refusal(standings: Sequence[Standing], fields: Fields) -> RateLimited:
    """Return why the request does not pass: the window that is full for the longest time."""
    full = [standing for standing in standings if not standing.remaining]
    longest = max(full, key=lambda standing: float("inf") if standing.resets_in is None else standing.resets_in)
    window, resets_in = longest.window, longest.resets_in
    whose = {"org": "Its organization", "policy": "The policy"}.get(window.label.rpartition("-")[0], "This key")
    if resets_in is None:
        return RateLimited(
            f"{whose} has used its budget of {_so_many(window.amount, 'request')} in all.", fields=fields
        )
    seconds = max(1, ceil(resets_in))
    unit = Unit(window.label.rpartition("-")[2])
    made, wait = _so_many(window.amount, "request"), _so_many(seconds, "second")
    detail = f"{whose} has made its {made} of this {unit}. Try again in {wait}."
    return RateLimited(detail, retry_after=seconds, fields=fields)


def _so_many(number: int, things: str) -> str:
    return f"{number} {things}" if number == 1 else f"{number} {things}s"
