"""Why a notification did not arrive, in sentences that say what to do."""

from http import HTTPStatus
from typing import Final

from mushu.server.resources.notifications.apple import Outcome

#: Our own words, beside Apple's.
TIMEOUT: Final = "timeout"
UNREACHABLE: Final = "unreachable"
CONNECTION_LOST: Final = "connection_lost"
NOT_TRIED: Final = "not_tried"

_OURS: Final = {
    TIMEOUT: "Apple did not answer in time",
    UNREACHABLE: "Apple could not be reached: see whether this server may connect to the push service on port 443",
    CONNECTION_LOST: "The connection to Apple broke",
    NOT_TRIED: "Time was up before it was this device's turn: send again, to fewer users at once",
}
_APPLES: Final = {
    "BadDeviceToken": (
        "The token is none of Apple's, or belongs to its other host (sandbox, production); the device was removed"
    ),
    "Unregistered": "The app is no longer on the device, which was removed unless it registered again since",
    "ExpiredToken": "The token of the device has expired; it was removed unless it registered again since",
    "DeviceTokenNotForTopic": "The device's token belongs to another app: compare the tenant's bundle_id",
    "TopicDisallowed": "The credentials may not send for this bundle_id: compare it with the team's apps",
    "BadTopic": "Apple does not know the tenant's bundle_id",
    "MissingTopic": "Apple wants a bundle_id that the tenant has not",
    "InvalidProviderToken": (
        "Apple does not accept the tenant's credentials: compare team_id, key_id and private_key, and whether the key "
        "was revoked"
    ),
    "ExpiredProviderToken": "Apple finds the signature too old: see whether the clock of this server is right",
    "BadEnvironmentKeyInToken": "The key is for Apple's other host: compare use_sandbox with what the key was made for",
    "BadEnvironmentKeyIdInToken": (
        "The key is for Apple's other host: compare use_sandbox with what the key was made for"
    ),
    "UnrelatedKeyIdInToken": "The key belongs to other apps than this one: compare key_id with bundle_id",
    "TooManyProviderTokenUpdates": "Apple saw too many signatures: do not share the key with another server",
    "TooManyRequests": "Too many notifications to this device in a short time: send less often",
    "PayloadTooLarge": "The payload is larger than Apple takes",
    "InternalServerError": "Apple failed: send again later",
    "ServiceUnavailable": "Apple is not available: send again later",
    "Shutdown": "Apple's server is being shut down: send again later",
}


def explain(outcome: Outcome, status: int | None, reason: str | None) -> str | None:
    """Return the sentence for a person, or None where there is nothing to explain."""
    match outcome:
        case Outcome.SENT | Outcome.RECORDED:
            return None
        case Outcome.NO_DEVICE:
            return "This user has no device: register one first."
        case Outcome.PENDING:
            return "It is being sent at this moment."
        case Outcome.UNKNOWN if reason is None:
            return "It is not known whether this arrived: the server stopped while it was sending."
        case Outcome.UNKNOWN:
            return f"{_because(status, reason)}; it is not known whether this arrived."
        case _:
            return f"{_because(status, reason)}."


def _because(status: int | None, reason: str | None) -> str:
    if reason in _OURS:
        return _OURS[reason]
    said = " ".join(str(part) for part in (status, reason) if part is not None)
    refused = status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR
    sentence = _APPLES.get(reason or "", "Apple refused it" if refused else "Apple failed: send again later")
    return f"{sentence} ({said})" if said else sentence
