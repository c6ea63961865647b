"""The protocol of Apple's push service (APNs): its hosts, what it takes, and what it answers.

Apple describes it under "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from mushu.environment import Environment
from mushu.server.errors import Invalid

_REASON: Final = re.compile(r"[A-Za-z]{1,64}")
_SECONDS: Final = re.compile(r"[0-9]{1,10}")
#: Seconds that a header can ask for at most; no attempt waits as long.
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
    #: It was handed to Apple, or may have been, and Apple did not answer.
    UNKNOWN = "unknown"


#: Why there is no answer, in words of ours beside Apple's.
TIMEOUT: Final = "timeout"
UNREACHABLE: Final = "unreachable"
CONNECTION_LOST: Final = "connection_lost"
NOT_TRIED: Final = "not_tried"

#: The user has it, as far as can be known here.
SUCCESSES: Final = (Outcome.SENT, Outcome.RECORDED)


class NextStep(StrEnum):
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
    def next_step(self) -> NextStep:
        if self.status == HTTPStatus.OK:
            return NextStep.DONE
        if self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return NextStep.AGAIN
        if self.status == HTTPStatus.FORBIDDEN and self.reason == "ExpiredProviderToken":
            return NextStep.NEW_TOKEN
        if self.status == HTTPStatus.GONE or self.reason == "BadDeviceToken":
            return NextStep.FORGET
        return NextStep.GIVE_UP


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what an answer says; a part that is not as Apple writes it is left out."""
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


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of Apple's push service, without a slash at their end."""

    production: str
    sandbox: str

    def of(self, environment: Environment, *, use_sandbox: bool) -> str:
        """Return where the notifications of a tenant go; a test notification never reaches production."""
        if environment is Environment.LIVE and not use_sandbox:
            return self.production
        return self.sandbox


#: Bytes that Apple takes at most, but for voice over IP.
MOST_BYTES: Final = 4_096
#: More is not useful, and a recursive JSON reader fails at some hundreds.
_DEEPEST: Final = 20
_VISIBLE: Final = ("alert", "badge", "sound")


class PushType(StrEnum):
    """The header `apns-push-type`."""

    #: Shown, heard, or counted on the icon.
    ALERT = "alert"
    #: Wakes the app, and shows nothing.
    BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a notification is asked to be; None and empty text mean: not asked for."""

    title: str | None = None
    subtitle: str | None = None
    body: str | None = None
    badge: int | None = None
    sound: str | None = None
    data: Mapping[str, Any] | None = None
    content_available: bool = False


def payload_of(content: Content) -> dict[str, Any]:
    """Return the payload.

    Data alone is sent in the background, because Apple takes nothing that neither shows nor wakes.

    Raises:
        Invalid: there is nothing to send, or Apple would not take it.
    """
    alert = {"title": content.title, "subtitle": content.subtitle, "body": content.body}
    aps: dict[str, Any] = {
        "alert": {name: text for name, text in alert.items() if text},
        "badge": content.badge,
        "sound": content.sound,
    }
    aps = {name: value for name, value in aps.items() if value is not None and value not in ("", {})}
    data = _checked_data(content.data or {})
    if content.content_available or (data and not aps):
        aps["content-available"] = 1
    if not aps:
        raise Invalid(
            "There is nothing to send: give an alert with a title or a body, or badge, sound, data or "
            "content_available.",
            field="alert",
        )
    payload = {"aps": aps, **data}
    size = len(encoded(payload))
    if size > MOST_BYTES:
        raise Invalid(f"The payload has {size} bytes, and Apple takes {MOST_BYTES}. Send less.", field="data")
    return payload


def encoded(payload: Mapping[str, Any]) -> bytes:
    """Return the payload as Apple gets it.

    Raises:
        Invalid: it holds a number or a character that JSON has not.
    """
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        refusal = Invalid("There is a number beyond all bounds, or half a character, in what is to be sent.")
    raise refusal  # here, so that the text that could not be written is not chained to it


def push_type_of(payload: Mapping[str, Any]) -> PushType:
    return PushType.ALERT if any(name in payload["aps"] for name in _VISIBLE) else PushType.BACKGROUND


def _checked_data(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if "aps" in data:
        raise Invalid("data has no key aps: it is Apple's, and made from the other fields.", field="data")
    if any(depth > _DEEPEST for depth in _depths(data)):
        raise Invalid(f"data is nested at most {_DEEPEST} levels deep.", field="data")
    return data


def _depths(data: Mapping[str, Any]) -> Iterator[int]:
    """Yield the depth of each part; without recursion, which is what this prevents."""
    waiting: list[tuple[int, Any]] = [(1, data)]
    while waiting:
        depth, part = waiting.pop()
        yield depth
        inside = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
        waiting.extend((depth + 1, one) for one in inside)
