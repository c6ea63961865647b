"""Rotation: a successor takes a key's place, and the key retires once the successor was seen in use.

begin           the successor is pending; the key works on as if nothing were
hand over       the successor is active, the key retiring (`activation.py`); both work
first use       of the successor: from now on the key has `settle` left (`retirement.py`)
retirement      the key is over

Here is how a rotation begins, which there are, and which need somebody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from sqlalchemy import BindParameter, bindparam, func, select, update

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import Actor, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.environments import Source, prepare
from mushu.server.errors import Invalid, WrongState
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import Network, networks_of
from mushu.server.keys.locking import lock_key
from mushu.server.keys.minting import KeyRequest, mint_successor
from mushu.server.keys.models import IS_OPEN, IS_TO_ROTATE, ApiKey, Rotation
from mushu.server.keys.records import deadline_of
from mushu.server.keys.selection import StateAt
from mushu.server.keys.service import get_key, restrict_key
from mushu.server.keys.states import DEAD, AtDeadline, State
from mushu.server.orgs.service import get_org
from mushu.server.rate_limits import Limit, limits_of

#: That a moment of a rotation may be away.
LONGEST_WAIT: Final = timedelta(days=366)
#: Between two attempts to do a rotation again that was cut off: doubled with each that fails.
_FIRST_WAIT: Final = timedelta(minutes=1)
_LAST_WAIT: Final = timedelta(hours=6)


class KnownRotation(NamedTuple):
    """What is told of a rotation."""

    successor_id: str
    predecessor_id: str
    deadline_seconds: int
    #: When the new key became active and the old one retiring.
    handed_over_at: datetime | None
    #: When the new key was first seen in use.
    first_used_at: datetime | None

    @property
    def deadline_at(self) -> datetime | None:
        """The moment until which the new key should have been used; None as long as it is not active."""
        return deadline_of(self.handed_over_at, self.deadline_seconds)


_IDS: Final[BindParameter[str]] = bindparam("ids", expanding=True)
_AMONG: Final = prepare(
    select(
        *(Rotation.successor_id, Rotation.predecessor_id, Rotation.deadline_seconds),
        *(Rotation.handed_over_at, Rotation.first_used_at),
    )
    .where(Rotation.successor_id.in_(_IDS) | (Rotation.predecessor_id.in_(_IDS) & Rotation.handed_over_at.is_not(None)))
    .order_by(Rotation.started_at),
    KnownRotation,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long the old key lives on."""

    #: After the first use of the new one.
    settle: timedelta = timedelta(hours=1)
    #: How long the first use is waited for.
    deadline: timedelta = timedelta(days=7)
    at_deadline: AtDeadline = AtDeadline.KEEP
    #: The old key ends in the moment in which the new one begins, seen in use or not.
    at_once: bool = False

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        return cls(
            settle=timedelta(seconds=rotation.settle_seconds),
            deadline=timedelta(seconds=rotation.deadline_seconds),
            at_deadline=AtDeadline(rotation.at_deadline),
            at_once=rotation.at_once,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRequest:
    """Which key is to make way, and on which terms."""

    key_id: str
    terms: Terms
    #: The mark of the request, where it carries an Idempotency-Key.
    idempotency: IdempotencyMark | None = None


def begin(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    key_id: str,
    terms: Terms,
    idempotency: IdempotencyMark | None = None,
) -> tuple[ApiKey, Secret]:
    """Mint a pending successor with the same organization, name, scopes, environment, interval and length of life.

    Args:
        idempotency: the mark of the request, where it carries an Idempotency-Key.

    Raises:
        KeyNotFound, OrgNotFound: the key or its organization is gone.
        WrongState: the key is not active.
        Invalid: the terms cannot be kept.
        IntegrityError: another request with the same Idempotency-Key has minted one.
    """
    if not timedelta(0) <= terms.settle <= LONGEST_WAIT or not timedelta(0) < terms.deadline <= LONGEST_WAIT:
        raise Invalid("Settle and deadline are durations such as 1h and 7d, of a year at most.", field="settle")
    now = clock()
    lock_key(session, key_id)  # a change of its limits waits, and then finds the successor
    key = get_key_to_rotate(session, now, key_id)
    get_org(session, key.org_id)
    successor, secret = mint_successor(session, clock, actor, _request_like(key, now, idempotency))
    successor.created_by = successor.created_by or key.created_by
    session.add(
        Rotation(
            successor_id=successor.id,
            predecessor_id=key.id,
            settle_seconds=int(terms.settle.total_seconds()),
            deadline_seconds=int(terms.deadline.total_seconds()),
            at_deadline=terms.at_deadline,
            at_once=terms.at_once,
            started_at=now,
        )
    )
    record(session, now, actor, "key.rotation_begun", key.id, org_id=key.org_id, details={"successor": successor.id})
    return successor, secret


def get_key_to_rotate(session: AnySession, now: datetime, key_id: str) -> ApiKey:
    """Return a key that can be rotated.

    Raises:
        KeyNotFound: there is no such key.
        WrongState: it is not active; the message says what to do instead.
    """
    key = get_key(session, key_id)
    if key.state(now) is not State.ACTIVE:
        raise WrongState(_why_not(session, key, now))
    return key


def restrict(
    session: AnySession,
    clock: Clock,
    actor: Actor,
    key_id: str,
    *,
    limits: Sequence[Limit] | None,
    networks: Sequence[Network] | None,
) -> ApiKey:
    """Change how often and from where a key may be used, and the keys that are on their way to take its place.

    Args:
        limits: None leaves them as they are, and none in it takes them back; so do `networks`.

    Raises:
        KeyNotFound: there is no such key.
    """
    key = lock_key(session, key_id)
    on_their_way = select(ApiKey).join(Rotation, Rotation.successor_id == ApiKey.id)
    pending = on_their_way.where(Rotation.predecessor_id == key_id, ApiKey.stored_state == State.PENDING)
    for successor in session.scalars(pending.order_by(ApiKey.created_at, ApiKey.id)).all():
        restrict_key(session, clock, actor, successor, limits=limits, networks=networks)
    return restrict_key(session, clock, actor, key, limits=limits, networks=networks)


def _request_like(key: ApiKey, now: datetime, idempotency: IdempotencyMark | None) -> KeyRequest:
    return KeyRequest(
        org_id=key.org_id,
        name=key.name,
        scopes=key.scopes,
        environment=Environment(key.environment),
        expires_at=now + (key.expires_at - key.created_at) if key.expires_at is not None else None,
        rotate_every=timedelta(seconds=key.rotate_every) if key.rotate_every is not None else None,
        limits=limits_of(key.limits),
        networks=networks_of(key.networks),
        idempotency=idempotency,
    )


def _why_not(session: AnySession, key: ApiKey, now: datetime) -> str:
    state = key.state(now)
    if state is State.RETIRING:
        return _who_takes_over(session, key)
    ways = {
        State.PENDING: "Wait until it is delivered.",
        State.DISABLED: f"Enable it first (`flask keys enable {key.id}`), or delete it.",
    }
    return f"{key.id} is {state}, and only an active key can be rotated. {ways.get(state, 'Create a new key.')}"


def _who_takes_over(session: AnySession, key: ApiKey) -> str:
    rotation = find_rotation_of(session, key.id)
    if rotation is None:
        return f"{key.id} is being rotated already."
    if get_key(session, rotation.successor_id).stored_state in DEAD:
        return (
            f"{key.id} made way for {rotation.successor_id}, which is over. Create a new key, and delete {key.id} once "
            "that is in use."
        )
    return f"{key.id} is being rotated already: {rotation.successor_id} takes over."


def find_rotation_to(session: AnySession, successor_id: str) -> Rotation | None:
    """Return the rotation that brought this key, if one did."""
    return session.get(Rotation, successor_id, populate_existing=True)


def get_rotation_to(session: AnySession, successor_id: str) -> Rotation:
    """Return the rotation that brought this key, which must be one."""
    return session.get_one(Rotation, successor_id, populate_existing=True)


def find_rotation_of(session: AnySession, predecessor_id: str) -> Rotation | None:
    """Return the rotation in which this key handed over, if it did."""
    query = select(Rotation).where(Rotation.predecessor_id == predecessor_id, Rotation.handed_over_at.is_not(None))
    return session.scalars(query.order_by(Rotation.handed_over_at)).first()


def list_rotations_among(source: Source, key_ids: Sequence[str]) -> Sequence[KnownRotation]:
    """Return the rotations that brought these keys or that they handed over in, in the order of their beginnings."""
    return _AMONG.rows(source, {"ids": key_ids})


def ancestors(session: AnySession, key_id: str) -> list[str]:
    """Return the ids of the keys that this one has followed, the latest first."""
    found: list[str] = []
    while (rotation := find_rotation_to(session, found[-1] if found else key_id)) is not None:
        found.append(rotation.predecessor_id)
    return found


def keys_due(session: AnySession, now: datetime, org_id: str | None = None) -> list[tuple[str, str]]:
    """Return ids and names of the active keys that are due to be rotated, the most overdue first."""
    query = select(ApiKey.id, ApiKey.name).where(IS_TO_ROTATE, ApiKey.rotate_at <= now)
    query = query.where(StateAt(State.ACTIVE, now).condition)
    if org_id is not None:
        query = query.where(ApiKey.org_id == org_id)
    return [(key_id, name) for key_id, name in session.execute(query.order_by(ApiKey.rotate_at, ApiKey.id))]


def list_stalled(session: AnySession, now: datetime, org_id: str | None = None) -> Sequence[Rotation]:
    """Return the rotations whose deadline is over, and whose old key lives on because the new one was never used."""
    query = select(Rotation, ApiKey).join(ApiKey, ApiKey.id == Rotation.predecessor_id)
    query = query.where(IS_OPEN, Rotation.first_used_at.is_(None), ApiKey.stored_state == State.RETIRING)
    if org_id is not None:
        query = query.where(ApiKey.org_id == org_id)
    waiting = session.execute(query.order_by(Rotation.handed_over_at, Rotation.successor_id))
    overdue = ((found, key) for found, key in waiting if found.deadline_at is not None and found.deadline_at <= now)
    return [found for found, key in overdue if key.state(now) is State.RETIRING]  # and has not expired meanwhile


def list_broken_off(session: AnySession) -> list[tuple[str, str]]:
    """Return the rotations whose new key died before it took over, and after which nobody has looked, oldest first.

    Each by the ids of the old key and of the new one.
    """
    query = select(Rotation.predecessor_id, Rotation.successor_id).join(ApiKey, ApiKey.id == Rotation.successor_id)
    ended = query.where(IS_OPEN, Rotation.handed_over_at.is_(None), ApiKey.stored_state.in_(list(DEAD)))
    ordered = ended.order_by(Rotation.started_at, Rotation.successor_id)
    return [(predecessor_id, successor_id) for predecessor_id, successor_id in session.execute(ordered)]


def again_after(session: AnySession, broken: Rotation) -> datetime:
    """Return from when on a rotation that was cut off may be done again: at once, then after longer and longer.

    Each attempt mints a key, so one that fails whenever it is made must not be made every minute without an end.
    """
    cut_off = select(func.count()).select_from(Rotation).where(Rotation.predecessor_id == broken.predecessor_id)
    attempts = session.scalar(cut_off.where(Rotation.handed_over_at.is_(None))) or 1
    if attempts == 1:
        return broken.started_at
    doublings: int = min(attempts - 2, 16)
    return broken.started_at + min(_FIRST_WAIT * (1 << doublings), _LAST_WAIT)


def settle(session: AnySession, now: datetime, successor_id: str) -> None:
    """Note that nothing is left to do for a rotation."""
    session.execute(update(Rotation).where(Rotation.successor_id == successor_id, IS_OPEN).values(settled_at=now))
