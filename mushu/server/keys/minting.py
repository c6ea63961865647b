"""Minting a key: what is asked for, what the organization has settled, and the mark of the request that asked.

A key that died before it ever worked was not made: the request that asked for it may ask again, with the same
`Idempotency-Key`, and the next key takes over its mark.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, update

from mushu.duration import written_duration
from mushu.environment import Environment
from mushu.keyformat import KEY_PREFIXES, generate, public_id
from mushu.secret import Secret
from mushu.server import rate_limits
from mushu.server.audit import Actor, ActorKind, Detail, record
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession
from mushu.server.errors import Invalid
from mushu.server.idempotency import IdempotencyMark, find_made
from mushu.server.keys import DEFAULT_SCOPES, Network, Scope, parse_scopes, stored_networks, written_networks
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD, State
from mushu.server.orgs.service import checked_name
from mushu.server.orgs.settings import Rules, rules_of
from mushu.server.rate_limits import Limit

#: A year that calendars and databases agree upon; beyond it, leave the expiry out.
_LONGEST_LIFE: Final = timedelta(days=36_525)
#: Below that, one rotation would run into the next.
SHORTEST_INTERVAL: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What is asked for when a key is minted."""

    org_id: str
    name: str
    #: None: those that the organization has settled, or else read and write.
    scopes: tuple[Scope, ...] | None = None
    environment: Environment = Environment.LIVE
    #: When the key ends; None: as the organization has settled, or else when it is deleted.
    expires_at: datetime | None = None
    #: After how long it is due to be rotated; None: as the organization has settled, or else never.
    rotate_every: timedelta | None = None
    #: How often it may be used; empty: as often as it likes.
    limits: tuple[Limit, ...] = ()
    #: From where it may be used; empty: from everywhere.
    networks: tuple[Network, ...] = ()
    #: The mark of the request, where it carries an Idempotency-Key.
    idempotency: IdempotencyMark | None = None


def mint_key(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a pending key and return it with its plaintext, which is nowhere else.

    It authenticates nobody until it is activated (`delivery/activation.py`). What the request leaves open is filled in
    as the organization has settled it.

    Raises:
        Invalid: the name, the expiry or the interval of rotation is not usable.
        IntegrityError: another request with the same Idempotency-Key has minted one.
    """
    return _mint(session, clock, actor, _with_defaults(request, rules_of(session, request.org_id), clock()))


def mint_successor(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a pending key like the one it is to follow; only the organization's limit to its life is applied."""
    return _mint(session, clock, actor, _within_limits(request, rules_of(session, request.org_id), clock()))


def _mint(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    now = clock()
    scopes = request.scopes or DEFAULT_SCOPES
    name = checked_name(request.name)
    expires_at = _checked_expiry(now, request.expires_at)
    secret = generate(KEY_PREFIXES[request.environment])
    key = ApiKey(
        id=public_id("key"),
        org_id=request.org_id,
        name=name,
        digest=secret.digest(),
        last_four=secret.reveal()[-4:],
        scope_names=",".join(scopes),
        environment=request.environment,
        stored_state=State.PENDING,
        created_at=now,
        created_by=actor.id if actor.kind == ActorKind.USER else None,
        expires_at=expires_at,
        rotate_every=_checked_interval(request.rotate_every),
        limits=rate_limits.stored(request.limits),
        networks=stored_networks(request.networks),
    )
    _mark_minted(session, key, request.idempotency)
    session.add(key)
    session.flush()
    details: dict[str, Detail] = {
        "name": name,
        "scopes": list(scopes),
        "environment": request.environment,
        "expires_at": rfc3339(expires_at) if expires_at else None,
    }
    if request.rotate_every is not None:
        details["rotate_every"] = written_duration(request.rotate_every)
    details |= bounds_of_record(key)
    record(session, now, actor, "key.created", key.id, org_id=key.org_id, details=details)
    return key, secret


def bounds_of_record(key: ApiKey) -> dict[str, Detail]:
    """Return limits and networks of a key as its audit events tell them; nothing where it has none."""
    found = {"limits": rate_limits.written(key.limits), "networks": written_networks(key.networks)}
    return {name: list(texts) for name, texts in found.items() if texts is not None}


def find_minted(session: AnySession, idempotency: IdempotencyMark | None) -> ApiKey | None:
    """Return the key that a request with this mark minted, as it is now; None if there is none, or it was given up.

    Raises:
        IdempotencyMismatch: that request asked for something else.
    """
    return find_made(session, ApiKey, idempotency, ~_was_given_up())


def mark_of(key: ApiKey) -> IdempotencyMark | None:
    """Return the mark that a key bears, for the one that is to be minted in its stead."""
    if key.request_key is None or key.request_digest is None:
        return None
    return IdempotencyMark(key.request_key, key.request_digest)


def _with_defaults(request: KeyRequest, rules: Rules, now: datetime) -> KeyRequest:
    """Return what is asked for, filled in where it says nothing.

    Raises:
        Invalid: the key would live longer than the organization allows.
    """
    expires_at, rotate_every = request.expires_at, request.rotate_every
    latest = now + rules.max_key_age if rules.max_key_age is not None else None
    if latest is not None and expires_at is not None and expires_at > latest and rules.max_key_age is not None:
        raise Invalid(
            f"Keys of this organization live {written_duration(rules.max_key_age)} at the most: until "
            f"{rfc3339(latest)}.",
            field="expires_at",
        )
    if expires_at is None:
        expires_at = now + rules.default_lifetime if rules.default_lifetime is not None else latest
    scopes = request.scopes
    if scopes is None:
        scopes = parse_scopes(rules.default_scopes) if rules.default_scopes is not None else DEFAULT_SCOPES
    if rotate_every is None:
        rotate_every = rules.default_rotate_every
    return replace(request, scopes=scopes, expires_at=expires_at, rotate_every=rotate_every)


def _within_limits(request: KeyRequest, rules: Rules, now: datetime) -> KeyRequest:
    """Return what a successor is asked to be, cut to the life that the organization allows: rotation goes on."""
    if rules.max_key_age is None:
        return request
    latest = now + rules.max_key_age
    return replace(request, expires_at=min(request.expires_at or latest, latest))


def _mark_minted(session: AnySession, key: ApiKey, idempotency: IdempotencyMark | None) -> None:
    """Have a new key be found by its request, and no longer the one that was given up before it.

    Where another request with the same mark is faster, the index on it refuses this key when it is flushed.
    """
    if idempotency is None:
        return
    before = update(ApiKey).where(ApiKey.request_key == idempotency.request_key, _was_given_up())
    session.execute(before.values(request_key=None, request_digest=None).execution_options(synchronize_session=False))
    key.mark(idempotency)


def _was_given_up() -> ColumnElement[bool]:
    return and_(ApiKey.stored_state.in_(list(DEAD)), ApiKey.activated_at.is_(None))


def _checked_expiry(now: datetime, expires_at: datetime | None) -> datetime | None:
    if expires_at is not None and not now < expires_at <= now + _LONGEST_LIFE:
        raise Invalid(
            "The expiry must be in the future, by 100 years at most; leave it out for a key without end.",
            field="expires_at",
        )
    return expires_at


def _checked_interval(rotate_every: timedelta | None) -> int | None:
    if rotate_every is None:
        return None
    if not SHORTEST_INTERVAL <= rotate_every <= _LONGEST_LIFE:
        raise Invalid("A key can be rotated every hour at the most, as in 90d.", field="rotate_every")
    return int(rotate_every.total_seconds())
