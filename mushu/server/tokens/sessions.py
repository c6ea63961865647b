"""Browser sessions: how each begins, is found, listed and ended.

The secret of a session's cookie comes out of here once; the database holds its digest. The database knows every
session, so that signing out ends it at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, UTCDateTime
from mushu.server.environments import Source, prepare
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


def read_session(source: Source, clock: Clock, secret: Secret) -> Any:
    """Return the id of the session that this secret stands for, and what is known of its user; None where it has ended.

    For what changes nothing: a transaction that writes looks again.
    """
    found = _GOOD.rows(source, {"now": clock(), "digest": secret.digest()})
    return found[0] if found else None


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


def _living_session(now: Any) -> Select[Any]:
    return living(BrowserSession, now).where(BrowserSession.issued_at <= now)


_GOOD: Final = prepare(
    _living_session(bindparam("now", type_=UTCDateTime))
    .where(BrowserSession.digest == bindparam("digest"))
    .with_only_columns(
        *(BrowserSession.id.label("session_id"), User.id, User.email, User.name, User.operator_since),
        maintain_column_froms=True,
    )
)
