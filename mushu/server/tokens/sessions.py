"""Browser sessions: how each begins, is found, listed and ended.

The secret of a session's cookie comes out of here once; the database holds its digest. The database knows every
session, so that signing out ends it at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.tokens.models import LIFETIME, BrowserSession, living, revoke
from mushu.server.users.models import User

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
        issued_at=now,
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
    good = _living_session(clock()).add_columns(User).where(BrowserSession.digest == secret.digest())
    row = session.execute(good.execution_options(populate_existing=True)).one_or_none()
    return (row[0], row[1]) if row is not None else None


def list_sessions(session: AnySession, clock: Clock, user_id: str) -> Sequence[BrowserSession]:
    """Return the user's sessions that are good, newest first."""
    mine = _living_session(clock()).where(BrowserSession.user_id == user_id)
    return session.scalars(mine.order_by(BrowserSession.issued_at.desc(), BrowserSession.id)).all()


def end_session(session: AnySession, clock: Clock, actor: Actor, user_id: str, session_id: str) -> bool:
    """End one of this user's sessions; tell whether there was one to end."""
    mine = (BrowserSession.id == session_id) & (BrowserSession.user_id == user_id)
    ended = revoke(session, BrowserSession, clock(), mine)
    if ended:
        record(session, clock(), actor, "session.ended", session_id)
    return ended


def _living_session(now: datetime) -> Select[Any]:
    return living(BrowserSession, now).where(BrowserSession.issued_at <= now)
