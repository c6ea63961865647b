"""What Apple gets: built from what was asked for, checked, and measured, before anything is written down."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mushu.server.errors import Invalid

#: Bytes that Apple takes at most, but for voice over IP.
MOST_BYTES: Final = 4_096
#: Nobody needs more, and what reads JSON by recursion fails at some hundreds.
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
    """Yield how deep each part lies; without recursion, which is what this is to prevent."""
    waiting: list[tuple[int, Any]] = [(1, data)]
    while waiting:
        depth, part = waiting.pop()
        yield depth
        inside = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
        waiting.extend((depth + 1, one) for one in inside)
