"""Retirement: how the old key of a rotation ends, and how it is given more time.

It ends `settle` after the first use of the new key, or at the deadline where that was agreed. Both are moments that the
gate compares each request with (`ApiKey.state`). Until then its end can be put off; a key that ended never comes back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, select, update

from mushu.duration import written_duration
from mushu.server.audit import Actor, record
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession
from mushu.server.errors import Invalid, WrongState
from mushu.server.keys.locking import lock_key, lock_keys
from mushu.server.keys.models import IS_OPEN, IS_TO_RETIRE, ApiKey, Rotation
from mushu.server.keys.rotation import LONGEST_WAIT
from mushu.server.keys.states import DEAD, State
from mushu.server.orgs.settings import rules_of

#: Of rotations: that the new key has taken over, and was not seen in use.
_WAITING: Final = (Rotation.handed_over_at.is_not(None), Rotation.first_used_at.is_(None))


def note_first_uses(session: AnySession, moments: Mapping[str, datetime]) -> None:
    """Let the predecessors of keys that were used for the first time retire, `settle` after that use.

    Args:
        moments: by key id, when it was used; of keys without a predecessor, and of later uses, nothing is made.
    """
    lock_keys(session, _waiting_for(session, moments))
    _note_first_uses(session, moments)


def _waiting_for(session: AnySession, key_ids: Iterable[str]) -> set[str]:
    """Return the ids of the keys that retire once these are used, and of those that they followed unused."""
    found, looked_at = set[str](), list(key_ids)
    while looked_at:
        before = select(Rotation.predecessor_id).where(Rotation.successor_id.in_(looked_at), *_WAITING)
        looked_at = [key_id for key_id in session.scalars(before) if key_id not in found]
        found |= {*looked_at}
    return found


def _note_first_uses(session: AnySession, moments: Mapping[str, datetime]) -> None:
    query = select(Rotation).where(Rotation.successor_id.in_(list(moments)), *_WAITING)
    before: dict[str, datetime] = {}
    for rotation in session.scalars(query.order_by(Rotation.successor_id)).all():
        rotation.first_used_at = moments[rotation.successor_id]
        before[rotation.predecessor_id] = rotation.first_used_at
        predecessor = lock_key(session, rotation.predecessor_id)
        over = predecessor.retires_at is not None and predecessor.retires_at <= rotation.first_used_at
        if predecessor.stored_state == State.RETIRING and not over:
            predecessor.retires_at = _end_after_use(rotation, predecessor, rotation.first_used_at)
    if before:  # a successor that was itself succeeded before anybody used it keeps no one waiting
        _note_first_uses(session, before)


def _end_after_use(rotation: Rotation, key: ApiKey, first_used_at: datetime) -> datetime:
    """Return when a retiring key ends whose successor was used: what it was given before is not taken back."""
    end = first_used_at + timedelta(seconds=rotation.settle_seconds)
    given = key.retires_at is not None and rotation.deadline_at is not None and key.retires_at > rotation.deadline_at
    return max(end, key.retires_at) if given and key.retires_at is not None else end


def extend(session: AnySession, clock: Clock, actor: Actor, key_id: str, until: datetime) -> ApiKey:
    """Let the old key of a rotation work until a later moment; said twice, it is done once.

    Raises:
        KeyNotFound: there is no such key.
        WrongState: it is not retiring, or it has no end that could be put off; the message says which.
        Invalid: the moment is before its end, or after the latest that is possible.
    """
    key = lock_key(session, key_id)
    now = clock()  # once nobody else can end it
    end = key.retires_at
    if key.state(now) is not State.RETIRING:
        raise WrongState(f"{key.id} is {key.state(now)}, and only the old key of a rotation can be given more time.")
    if end is None:
        raise WrongState(f"{key.id} needs no more time: it has no end before its successor is used.")
    latest, reason = latest_end(session, now, key)
    if until > latest:
        raise Invalid(f"{key.id} can work until {rfc3339(latest)} at the latest: {reason}.", field="retires_at")
    if until < end:
        raise Invalid(
            f"{key.id} works until {rfc3339(end)}. Name a later moment, or delete the key to end it now.",
            field="retires_at",
        )
    if until > end:
        key.retires_at = until
        details = {"from": rfc3339(end), "to": rfc3339(until)}
        record(session, now, actor, "key.extended", key.id, org_id=key.org_id, details=details)
    return key


def latest_end(session: AnySession, now: datetime, key: ApiKey) -> tuple[datetime, str]:
    """Return until when a retiring key may be given time, which is never before its end, and why no longer."""
    ends = [(now + LONGEST_WAIT, "a year from now")]
    if key.expires_at is not None:
        ends.append((key.expires_at, "then it expires"))
    longest = rules_of(session, key.org_id).max_key_age
    if longest is not None:
        ends.append((key.created_at + longest, f"its organization lets keys live {written_duration(longest)}"))
    latest, reason = min(ends)
    return max(latest, key.retires_at or latest), reason


def any_waits_for(session: AnySession, key_ids: Sequence[str]) -> bool:
    """Tell whether `note_first_uses` would note something of these keys."""
    return bool(session.scalar(select(exists().where(Rotation.successor_id.in_(key_ids), *_WAITING))))


def keys_to_retire(session: AnySession, now: datetime) -> Sequence[str]:
    """Return the ids of retiring keys whose time is over."""
    return session.scalars(select(ApiKey.id).where(IS_TO_RETIRE, ApiKey.retires_at <= now)).all()


def settle_ended(session: AnySession, now: datetime) -> None:
    """Note it for every rotation that handed over and whose old key is over; not for one that is being changed."""
    ended = select(Rotation.successor_id).where(IS_OPEN, _has_ended()).with_for_update(skip_locked=True)
    settled = update(Rotation).where(Rotation.successor_id.in_(ended)).values(settled_at=now)
    session.execute(settled.execution_options(synchronize_session=False))


def any_ended(session: AnySession) -> bool:
    """Tell whether `settle_ended` would note something now."""
    return bool(session.scalar(select(exists().where(IS_OPEN, _has_ended()))))


def _has_ended() -> ColumnElement[bool]:
    # Asked for each rotation that is open: what is asked for all keys reads all keys.
    over = exists().where(ApiKey.id == Rotation.predecessor_id, ApiKey.stored_state.in_(list(DEAD)))
    return and_(Rotation.handed_over_at.is_not(None), over.correlate(Rotation))
