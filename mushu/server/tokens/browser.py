"""Sessions in a browser, which the database knows: signing out, a new password or a disabled user end them at once.

The cookie holds a random secret and says nothing of the user; the database holds its digest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.tokens.models import BrowserSession
from mushu.server.users.models import User

LIFETIME: Final = timedelta(hours=12)
_AGENT_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a sign-in comes from, as far as the request says."""

    address: str
    user_agent: str


def start_session(session: AnySession, clock: Clock, user: User, visitor: Visitor) -> tuple[BrowserSession, Secret]:
    """Return a new session of the user, and the secret for its cookie, which is nowhere else."""
    now, secret = clock(), generate(Prefix.BROWSER_SESSION)
    agent = "".join(letter for letter in visitor.user_agent if letter.isprintable())[:_AGENT_LENGTH]
    started = BrowserSession(
        id=public_id("ses"),
        user_id=user.id,
        digest=secret.digest(),
        started_at=now,
        expires_at=now + LIFETIME,
        address=visitor.address[:64],
        user_agent=agent or None,
    )
    session.add(started)
    details = {"address": started.address, "user_agent": started.user_agent}
    record(session, now, Actor(ActorKind.USER, user.id), "session.started", started.id, details=details)
    return started, secret


def find_session(session: AnySession, clock: Clock, secret: Secret) -> tuple[BrowserSession, User] | None:
    """Return the session that this secret stands for, and its user; None where it has ended, however it did."""
    good = _good(clock()).add_columns(User).where(BrowserSession.digest == secret.digest())
    row = session.execute(good.execution_options(populate_existing=True)).one_or_none()
    return (row[0], row[1]) if row is not None else None


def list_sessions(session: AnySession, clock: Clock, user_id: str) -> Sequence[BrowserSession]:
    """Return the user's sessions that are good, newest first."""
    mine = _good(clock()).where(BrowserSession.user_id == user_id)
    return session.scalars(mine.order_by(BrowserSession.started_at.desc(), BrowserSession.id)).all()


def end_session(session: AnySession, clock: Clock, actor: Actor, user_id: str, session_id: str) -> bool:
    """End one of this user's sessions; tell whether there was one to end."""
    now = clock()
    living = update(BrowserSession).where(
        BrowserSession.id == session_id, BrowserSession.user_id == user_id, BrowserSession.ended_at.is_(None)
    )
    ended: int = session.execute(living.values(ended_at=now)).rowcount  # type: ignore[attr-defined]
    if ended:
        record(session, now, actor, "session.ended", session_id)
    return ended > 0


def _good(now: datetime) -> Select[Any]:
    return (
        select(BrowserSession)
        .join(User, User.id == BrowserSession.user_id)
        .where(
            BrowserSession.ended_at.is_(None),
            BrowserSession.started_at <= now,
            BrowserSession.expires_at > now,
            BrowserSession.started_at >= User.tokens_valid_from,
            User.disabled_at.is_(None),
        )
    )
