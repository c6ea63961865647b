"""The form of a new key: what it offers in an organization, and what it asks for, once, however often it is sent."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final, Self

from flask import request
from humanize import naturaldelta

from mushu.duration import written_duration
from mushu.server import destinations
from mushu.server.clock import parse_duration
from mushu.server.db import AnySession
from mushu.server.delivery.named_destinations import living_at
from mushu.server.destinations import DestinationRow
from mushu.server.errors import AlreadyCreated, IdempotencyMismatch, Invalid
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import DEFAULT_SCOPES, Scope, parse_networks, parse_scopes
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.orgs.settings import Rules, rules_of
from mushu.server.paging import Window
from mushu.server.rate_limits import parse_limits
from mushu.server.web.guard import current_environment, current_org

DELIVER: Final = "deliver"
SHOW: Final = "show"
#: What a form says for a key without an end, or one that nothing rotates.
NEVER: Final = "never"
#: Destinations that the form offers.
_OFFERED: Final = 200
_SHORTEST_TOKEN: Final = 22
_LIVES: Final = tuple(timedelta(days=days) for days in (7, 30, 90, 180, 365))
_INTERVALS: Final = tuple(timedelta(days=days) for days in (30, 60, 90))
_USUAL: Final = timedelta(days=90)
#: The form was sent before, as it is or otherwise.
USED: Final = (AlreadyCreated, IdempotencyMismatch)
#: What each scope permits.
PERMITS: Final = {
    Scope.READ: "See organizations, tenants, devices, notifications, media and its own usage.",
    Scope.WRITE: "Register devices, upload and delete media, send notifications.",
    Scope.ADMIN: (
        "Create and delete tenants, manage keys, members and settings, read the audit log. For tools that manage, not "
        "for services."
    ),
}


def new_token() -> str:
    """Return what one form has and no other: a key is minted once for it."""
    return secrets.token_urlsafe(24)


def picked(kind: str) -> tuple[str, ...]:
    """Return what is ticked of one kind: each box has a field of its own, as no field may be sent twice."""
    return tuple(name.partition(".")[2] for name in request.form if name.startswith(f"{kind}."))


def mark_of_form(operation: str, asked: dict[str, object]) -> IdempotencyMark:
    """Return the mark of the form that was sent.

    Raises:
        Invalid: it has no token, so it is from no page of ours.
    """
    token = request.form.get("form_token", "")
    if len(token) < _SHORTEST_TOKEN:
        raise Invalid("This form is not whole. Open the page again, and send it from there.", field="form_token")
    return IdempotencyMark.of(token, (current_org(), current_environment(), operation), asked)


@dataclass(frozen=True, slots=True)
class OfferedPlace:
    """A destination that a new key may go to."""

    name: str
    scheme: str
    #: A key of the organization that is there.
    holder: ApiKey | None
    #: Whether none is there, also of no other organization.
    is_free: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What an organization offers for a new key."""

    places: Sequence[OfferedPlace]
    rules: Rules

    @property
    def lives(self) -> dict[str, str]:
        """Return how long the key may live, and in which words; the longest that is allowed is the last."""
        most, usual = self.rules.max_key_age, self.rules.default_lifetime
        lives = {life for life in (*_LIVES, usual, most) if life is not None and life <= (most or life)}
        found = {written_duration(life): f"in {_in_words(life)}" for life in sorted(lives)}
        if most is not None:
            found[written_duration(most)] += " (the most)"
        return found if most is not None or usual is not None else found | {NEVER: "never"}

    @property
    def intervals(self) -> dict[str, str]:
        """Return how often the key may be rotated, and in which words."""
        usual = self.rules.default_rotate_every
        found = {written_duration(each): f"every {_in_words(each)}" for each in sorted({*_INTERVALS, usual or _USUAL})}
        return found if usual is not None else found | {NEVER: "never"}

    @property
    def limit(self) -> str:
        """Return what the organization allows, as a sentence."""
        most = self.rules.max_key_age
        return (
            "The organization sets no limit." if most is None else f"The organization allows {_in_words(most)} at most."
        )

    def suggested(self) -> "KeyForm":
        """Return the form as it is first shown."""
        rules, lives = self.rules, self.lives
        life = written_duration(rules.default_lifetime or min(_USUAL, rules.max_key_age or _USUAL))
        every = rules.default_rotate_every
        return KeyForm(
            way=DELIVER if any(place.is_free for place in self.places) else SHOW,
            scopes=tuple(rules.default_scopes or DEFAULT_SCOPES),
            expires=life if life in lives else next(reversed(lives)),
            rotate_every=written_duration(every) if every is not None else NEVER,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForm:
    """What the form holds."""

    name: str = ""
    way: str = DELIVER
    to: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires: str = NEVER
    rotate_every: str = NEVER
    #: As people list them, with commas or spaces between.
    limits: str = ""
    networks: str = ""
    token: str = field(default_factory=new_token, compare=False)

    @classmethod
    def sent(cls) -> Self:
        """Return the form that was sent, with a token for the next one."""
        form = request.form
        return cls(
            name=form.get("name", ""),
            way=form.get("way", ""),
            to=picked("to"),
            scopes=picked("scope"),
            expires=form.get("expires", NEVER),
            rotate_every=form.get("rotate_every", NEVER),
            limits=form.get("limits", ""),
            networks=form.get("networks", ""),
        )

    def request(self, now: datetime) -> KeyRequest:
        """Return what is asked for.

        Raises:
            Invalid: a field is not usable; nothing was minted.
        """
        asked = {part.name: getattr(self, part.name) for part in fields(self) if part.compare}
        return KeyRequest(
            org_id=current_org(),
            name=self.name,
            scopes=parse_scopes(self.scopes),
            environment=current_environment(),
            expires_at=now + parse_duration(self.expires, "expires") if self.expires != NEVER else None,
            rotate_every=parse_duration(self.rotate_every, "rotate_every") if self.rotate_every != NEVER else None,
            limits=parse_limits(_listed(self.limits)),
            networks=parse_networks(_listed(self.networks)),
            idempotency=mark_of_form("create_key_page", asked),
        )

    @property
    def choice(self) -> DeliveryChoice:
        """How the key is to be delivered.

        Raises:
            Invalid: the form does not say.
        """
        if self.way == SHOW:
            return DeliveryChoice(mode=DeliveryMode.RESPONSE)
        if self.way != DELIVER or not self.to:
            raise Invalid("Pick at least one destination, or have the key shown once.", field="to")
        return DeliveryChoice(mode=DeliveryMode.SERVER, names=self.to)


def _listed(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _in_words(length: timedelta) -> str:
    return str(naturaldelta(length, months=False))


def offer_of(session: AnySession, org_id: str) -> Offer:
    """Return what the organization offers in the environment of the session, in the caller's transaction."""
    found = destinations.list_destinations(session, org_id, Window(_OFFERED)).rows
    holders = living_at(session, [place.uri for place in found])
    places = [_offered(one, org_id, holders.get(one.uri, ())) for one in found]
    places.sort(key=lambda place: not place.is_free)  # what is free is chosen from, and stands first
    return Offer(places, rules_of(session, org_id))


def _offered(place: DestinationRow, org_id: str, holders: Sequence[ApiKey]) -> OfferedPlace:
    own = next((key for key in holders if key.org_id == org_id), None)
    return OfferedPlace(place.name, place.uri.partition(":")[0], own, not holders)
