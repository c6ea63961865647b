"""The state of a key as a sentence: quiet where all is well, and what is wrong where somebody has to do something."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from humanize import naturaldelta
from markupsafe import Markup

from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.states import State
from mushu.server.usage import KeyUse
from mushu.server.web.templating import ago, visible

_SOON: Final = timedelta(days=30)
_IDLE: Final = timedelta(days=90)
#: A key that was never used in that time is told.
_WAITING: Final = timedelta(days=7)
_WRONG: Final = {
    Condition.DRIFTED: "{} holds something else, as it was looked at {}",
    Condition.MISSING: "{} does not hold it any more, as it was looked at {}",
}


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A sentence, and the shape beside it: ok, warn, bad, off, stop or wait."""

    tone: str
    words: Markup


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the sentence is made of."""

    key: ApiKey
    deliveries: Sequence[Delivery]
    #: What destinations are called, by URI.
    names: Mapping[str, str]
    use: KeyUse | None
    #: In which the key makes way for another.
    rotation: Rotation | None

    def place(self, delivery: Delivery) -> str:
        """Return what a destination is called; one without a name by its scheme only, for a URI names files."""
        if delivery.on_client:
            return delivery.uri
        return self.names.get(delivery.uri) or f"a destination without a name ({delivery.uri.partition(':')[0]})"


def status_of(facts: KeyFacts, now: datetime) -> KeyStatus:
    """Return the most important thing to be said of a key."""
    state = facts.key.state(now)
    match state:
        case State.ACTIVE:
            return _drift(facts) or _active(facts, now)
        case State.RETIRING:
            return _rotating(facts, now)
        case State.PENDING:
            return KeyStatus("wait", _sentence("Pending: {}", _last_error(facts) or "its delivery is not proven yet"))
        case State.FAILED:
            return KeyStatus("bad", _sentence("<b>Failed</b>: {}", _last_error(facts) or "it could not be delivered"))
        case State.DISABLED:
            return KeyStatus("stop", Markup("Disabled"))
        case State.EXPIRED:
            return KeyStatus("stop", _since("Expired", facts.key.expires_at))
        case State.REVOKED:
            return KeyStatus("stop", _since("Deleted", facts.key.revoked_at or facts.key.retires_at))


def _drift(facts: KeyFacts) -> KeyStatus | None:
    for delivery in facts.deliveries:
        found = _WRONG.get(Condition(delivery.condition)) if delivery.condition else None
        if delivery.state == DeliveryState.VERIFIED and found is not None and delivery.checked_at is not None:
            words = _sentence(f"<b>Drifted</b>: {found}", facts.place(delivery), ago(delivery.checked_at))
            return KeyStatus("bad", words)
    return None


def _active(facts: KeyFacts, now: datetime) -> KeyStatus:
    key, use = facts.key, facts.use
    if key.expires_at is not None and key.expires_at <= now + _SOON:
        return KeyStatus("warn", _sentence("Active, and expires {}", ago(key.expires_at)))
    since = key.activated_at or key.created_at
    if use is None and since <= now - _WAITING:
        length = naturaldelta(now - since, months=False)
        return KeyStatus("off", _sentence("Never used in {}; delete it if nobody waits for it", length))
    if use is not None and use.last_used_at <= now - _IDLE:
        return KeyStatus("off", _sentence("Idle for {}", naturaldelta(now - use.last_used_at, months=False)))
    return KeyStatus("ok", Markup("Active"))


def _rotating(facts: KeyFacts, now: datetime) -> KeyStatus:
    rotation = facts.rotation
    deadline = rotation.deadline_at if rotation is not None else None
    used = rotation.first_used_at if rotation is not None else None
    if used is None and deadline is not None and deadline <= now:
        return KeyStatus("bad", _sentence("<b>Rotation stalled</b> {}: nobody has used the new key", ago(deadline)))
    if facts.key.retires_at is not None:
        return KeyStatus(
            "wait", _sentence("Rotating: the new key is in use, and this one ends {}", ago(facts.key.retires_at))
        )
    return KeyStatus("wait", Markup("Rotating: the new key waits for its first use"))


def _last_error(facts: KeyFacts) -> str | None:
    errors = [delivery.error for delivery in facts.deliveries if delivery.error]
    return errors[-1] if errors else None


def _since(word: str, moment: datetime | None) -> Markup:
    return visible(word) if moment is None else _sentence(f"{word} {{}}", ago(moment))


def _sentence(words: str, *parts: str) -> Markup:
    """Return a sentence of ours with parts of others in it: these are text, whatever they hold."""
    return Markup(words).format(  # noqa: S704 - each caller writes it out
        *(part if isinstance(part, Markup) else visible(part) for part in parts)
    )
