"""What Apple's answers mean: which of them are worth another attempt, which say that a device is gone, and why.

Apple lists them under "Handling notification responses from APNs".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final

_REASON: Final = re.compile(r"[A-Za-z]{1,64}")
_SECONDS: Final = re.compile(r"[0-9]{1,10}")
#: Seconds; beyond it a header is a joke, and no attempt of ours waits as long.
_LONGEST_WAIT: Final = 86_400


class Outcome(StrEnum):
    """What became of a notification at one device, or at a user who has none."""

    #: It is being sent.
    PENDING = "pending"
    #: Apple has it.
    SENT = "sent"
    #: It is in the outbox.
    RECORDED = "recorded"
    FAILED = "failed"
    NO_DEVICE = "no_device"
    #: It was handed to Apple, or may have been, and no answer came.
    UNKNOWN = "unknown"


#: The user has it, as far as can be known here.
SUCCESSES: Final = (Outcome.SENT, Outcome.RECORDED)


class Step(StrEnum):
    """What to do after an answer."""

    DONE = "done"
    AGAIN = "again"
    NEW_TOKEN = "new token"  # noqa: S105 - the name of a step
    #: The token belongs to no device of this app any more.
    FORGET = "forget"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Apple said about one notification to one device."""

    status: int
    #: One of Apple's words, or None.
    reason: str | None = None
    #: Since when the device cannot be reached, where Apple says so.
    dead_since: datetime | None = None
    #: Seconds to wait before the next attempt, where Apple says so.
    retry_after: int | None = None

    @property
    def step(self) -> Step:
        if self.status == HTTPStatus.OK:
            return Step.DONE
        if self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Step.AGAIN
        if self.status == HTTPStatus.FORBIDDEN and self.reason == "ExpiredProviderToken":
            return Step.NEW_TOKEN
        if self.status == HTTPStatus.GONE or self.reason == "BadDeviceToken":
            return Step.FORGET
        return Step.GIVE_UP


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what an answer says; whatever of it is not as Apple writes it says nothing."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    content = content if isinstance(content, dict) else {}
    reason = content.get("reason")
    wait = headers.get("retry-after", "")
    return Answer(
        status,
        reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None,
        _moment(content.get("timestamp")),
        min(int(wait), _LONGEST_WAIT) if _SECONDS.fullmatch(wait) else None,
    )


def _moment(milliseconds: object) -> datetime | None:
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
