"""Limits: how many requests may pass a second, a minute, an hour, a day, and in all.

A limit is written as `100/minute`, and one in all, a budget, as `50000/total`. A window of a limit begins with the
first request in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from mushu.server.errors import Invalid


class Unit(StrEnum):
    """What a limit is counted in, from the shortest on."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


#: Seconds of a window; that of a budget has no end.
SECONDS: Final = {Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3_600, Unit.DAY: 86_400, Unit.TOTAL: None}
#: Requests that a limit can let pass at the most.
MOST: Final = 1_000_000_000
_LIMIT: Final = re.compile(r"([1-9][0-9]{0,9})/([a-z]{3,6})")
_HOW: Final = f"A limit is written as 100/minute: a number from 1 to {MOST}, and one of {', '.join(Unit)}."


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in one unit of time, or in all."""

    amount: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount}/{self.unit}"


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """What the requests of somebody are counted in."""

    #: Unique in the store, such as `key_abcdefghijkl/minute`.
    name: str
    #: As clients are told, such as `minute` or `org-minute`.
    label: str
    amount: int
    #: None: it has no end.
    seconds: int | None


def parse_limits(texts: Sequence[str]) -> tuple[Limit, ...]:
    """Return the limits that are written, from the shortest unit on.

    Raises:
        Invalid: one of them is not a limit, or two are for one unit.
    """
    limits = {}
    for text in texts:
        found = _LIMIT.fullmatch(text)
        if found is None or found[2] not in [*Unit] or int(found[1]) > MOST:
            raise Invalid(_HOW, field="limits")
        unit = Unit(found[2])
        if unit in limits:
            raise Invalid(f"There are two limits for one {unit}. Send one.", field="limits")
        limits[unit] = Limit(int(found[1]), unit)
    return tuple(limits[unit] for unit in Unit if unit in limits)


def stored(limits: Sequence[Limit]) -> str | None:
    """Return limits as a column holds them; None where there are none."""
    return ";".join(map(str, limits)) or None


def written(column: str | None) -> list[str] | None:
    """Return limits as they are told; None where there are none."""
    return column.split(";") if column else None


def limits_of(column: str | None) -> tuple[Limit, ...]:
    return parse_limits(column.split(";")) if column else ()


@lru_cache(10_000)
def windows_of(subject: str, column: str | None, prefix: str = "") -> tuple[LimitWindow, ...]:
    """Return what the requests of somebody are counted in.

    Args:
        subject: unique among all that have limits.
        column: their limits, as they are stored.
        prefix: of the names that clients are told.
    """
    return tuple(
        LimitWindow(f"{subject}/{limit.unit}", f"{prefix}{limit.unit}", limit.amount, SECONDS[limit.unit])
        for limit in limits_of(column)
    )
