"""What a list of keys shows of each: its state as a sentence, its small chart, and where it is.

The sentence is quiet where all is well, and says what is wrong where somebody has to do something. All keys of a page
are loaded at once, whatever their number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from humanize import naturaldelta
from markupsafe import Markup

from mushu.server.delivery import ledger
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.delivery.named_destinations import names_of
from mushu.server.environments import Source
from mushu.server.figures import LastUse, UsedHour, hours_by_key, last_uses_of
from mushu.server.keys.models import ApiKey
from mushu.server.keys.records import KeyRecord
from mushu.server.keys.rotation import KnownRotation, list_rotations_among
from mushu.server.keys.states import State
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.destination_rows import place_called
from mushu.server.web.markup import Html, escaped, readable
from mushu.server.web.templating import ago, visible

_SOON: Final = timedelta(days=30)
_IDLE: Final = timedelta(days=90)
#: A key that was never used in that time is told.
_WAITING: Final = timedelta(days=7)
_WRONG: Final = {
    Condition.DRIFTED: "{} holds something else, seen {}",
    Condition.MISSING: "{} does not hold it any more, seen {}",
}


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A sentence, and the shape beside it: ok, warn, bad, off, stop or wait."""

    tone: str
    words: Markup


_QUIET: Final = KeyStatus("ok", Markup("Active"))


class KeyFacts(NamedTuple):
    """What the sentence is made of."""

    key: ApiKey | KeyRecord
    deliveries: Sequence[Delivery]
    #: What destinations are called, by URI.
    names: Mapping[str, str]
    use: LastUse | None
    #: In which the key makes way for another.
    rotation: KnownRotation | None
    #: Whether it took the place of another.
    follows: bool

    def place(self, delivery: Delivery) -> str:
        """Return what a destination is called; on a client's machine, its URI is nothing of the server's."""
        return delivery.uri if delivery.on_client else place_called(delivery.uri, self.names)


class KeyRow(NamedTuple):
    """One key in a list."""

    facts: KeyFacts
    state: State
    status: KeyStatus
    #: Those of the last 36 in which it was used.
    hours: Sequence[UsedHour]
    requests: int
    denials: int
    #: Who created it, by address; None for who is no user any more, or never was.
    creator: str | None

    @property
    def key(self) -> ApiKey | KeyRecord:
        return self.facts.key

    @property
    def places(self) -> list[Delivery]:
        """Return where the key is, or is to be."""
        gone = (DeliveryState.FAILED, DeliveryState.REPLACED, DeliveryState.REMOVED)
        return [delivery for delivery in self.facts.deliveries if delivery.state not in gone]

    @property
    def is_sealed(self) -> bool:
        """Tell whether the server delivered it, so that nobody has seen it."""
        return any(not delivery.on_client for delivery in self.facts.deliveries)

    def told(self, address: str) -> Html:
        """Return how the key is; of one that makes way, with a link to where that is watched."""
        if self.state is not State.RETIRING:
            return Html(self.status.words)
        watched = escaped(f"{address}/{self.key.id}/rotation")
        whose = f'<span class="unseen">, the rotation of {readable(self.key.name)}</span>'
        return Html(f'{self.status.words}. <a href="{watched}">Watch it{whose}</a>')


def rows_of(
    source: Source,
    now: datetime,
    org_id: str,
    keys: Sequence[ApiKey | KeyRecord],
    names: Mapping[str, str] | None = None,
    emails: Mapping[str, str] | None = None,
) -> list[KeyRow]:
    """Return what is shown of some keys of an organization, in their order.

    Args:
        names: those of all destinations by URI, where they are known already.
        emails: those of users by id, where they are known already.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    ids = [key.id for key in keys]
    found = ledger.read_deliveries(source, ids)
    deliveries = _by_key(found)
    if names is None:
        names = names_of(source, [delivery.uri for delivery in found], org_id)
    uses, hours = last_uses_of(source, ids), hours_by_key(source, now, ids)
    handed_over = [one for one in list_rotations_among(source, ids) if one.handed_over_at]
    rotations, successors = {one.predecessor_id: one for one in handed_over}, {one.successor_id for one in handed_over}
    creators = {key.created_by for key in keys if key.created_by is not None}
    if emails is None or not creators <= emails.keys():
        emails = emails_of(source, creators)
    rows = []
    for key in keys:
        at, use, rotation = deliveries.get(key.id, ()), uses.get(key.id), rotations.get(key.id)
        facts = KeyFacts(key, at, names, use, rotation, key.id in successors)
        creator = emails.get(key.created_by or "")
        state = key.state(now)
        used = hours[key.id]
        requests = denials = 0
        for _, asked, refused in used:
            requests, denials = requests + asked, denials + refused
        rows.append(KeyRow(facts, state, status_of(facts, state, now), used, requests, denials, creator))
    return rows


def _by_key(deliveries: Sequence[Delivery]) -> Mapping[str, Sequence[Delivery]]:
    found: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        found.setdefault(delivery.key_id, []).append(delivery)
    return found


def status_of(facts: KeyFacts, state: State, now: datetime) -> KeyStatus:
    """Return the most important thing to be said of a key."""
    match state:
        case State.ACTIVE:
            return _drift(facts) or _active(facts, now)
        case State.RETIRING:
            return _rotating(facts, now)
        case State.PENDING:
            return KeyStatus("wait", Markup("Pending: its delivery is not proven yet"))
        case State.FAILED:
            return KeyStatus("bad", Markup("<b>Failed</b>: it could not be delivered"))
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
        advice = ", though it took the place of another" if facts.follows else "; delete it if nobody waits for it"
        return KeyStatus("off", _sentence(f"Never used in {{}}{advice}", length))
    if use is not None and use.last_used_at <= now - _IDLE:
        return KeyStatus("off", _sentence("Idle for {}", naturaldelta(now - use.last_used_at, months=False)))
    return _QUIET


def _rotating(facts: KeyFacts, now: datetime) -> KeyStatus:
    rotation = facts.rotation
    deadline = rotation.deadline_at if rotation is not None else None
    used = rotation.first_used_at if rotation is not None else None
    if used is None and deadline is not None and deadline <= now:
        return KeyStatus("bad", _sentence("<b>Rotation stalled</b> {}: nobody has used the new key", ago(deadline)))
    if facts.key.retires_at is not None:
        new = "is in use" if used is not None else "waits for its first use"
        return KeyStatus(
            "wait", _sentence(f"Rotating: the new key {new}, and this one ends {{}}", ago(facts.key.retires_at))
        )
    return KeyStatus("wait", Markup("Rotating: the new key waits for its first use"))


def _since(word: str, moment: datetime | None) -> Markup:
    return visible(word) if moment is None else _sentence(f"{word} {{}}", ago(moment))


def _sentence(words: str, *parts: str) -> Markup:
    """Return a sentence of ours with parts of others in it: these are text, whatever they hold."""
    return Markup(words).format(  # noqa: S704 - each caller writes it out
        *(part if isinstance(part, Markup) else visible(part) for part in parts)
    )
