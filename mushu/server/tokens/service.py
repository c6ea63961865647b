"""CLI tokens and browser sessions: how each is issued, found, listed and revoked.

The plaintext of a token, and the secret of a session's cookie, come out of here once; the database holds digests. A
CLI token is looked up by `gate/`. The database knows every session, so that signing out ends it at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import TokenNotFound
from mushu.server.paging import Page, Window, page
from mushu.server.tokens.models import BrowserSession, CliToken
from mushu.server.users.models import User

#: The contract: a CLI token lives for 12 hours. So does a session.
LIFETIME: Final = timedelta(hours=12)
_AGENT_LENGTH: Final = 200

Issued = TypeVar("Issued", CliToken, BrowserSession)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a sign-in comes from, as far as the request says."""

    address: str
    user_agent: str


def issue_token(
    session: AnySession, clock: Clock, user: User, client_name: str | None = None
) -> tuple[CliToken, Secret]:
    """Return a new token of the user, and its plaintext, which is nowhere else.

    Args:
        client_name: what asked for it, in its own words; shown where tokens are listed.
    """
    now, secret = clock(), generate(Prefix.CLI_TOKEN)
    token = CliToken(
        id=public_id("tok"),
        user_id=user.id,
        digest=secret.digest(),
        issued_at=now,
        expires_at=now + LIFETIME,
        client_name=client_name,
    )
    session.add(token)
    record(session, now, Actor(ActorKind.USER, user.id), "token.issued", token.id, details={"client": client_name})
    return token, secret


def list_tokens(session: AnySession, clock: Clock, user_id: str, window: Window) -> Page[CliToken]:
    """Return a page of the user's tokens that still work, newest first."""
    mine = _living(CliToken, clock()).where(CliToken.user_id == user_id)
    return page(session, mine, CliToken.issued_at, CliToken.id, window)


def revoke_token(session: AnySession, clock: Clock, actor: Actor, token_id: str) -> bool:
    """Revoke the token; tell whether it was still good for something."""
    revoked = _revoke(session, CliToken, clock(), CliToken.id == token_id)
    if revoked:
        record(session, clock(), actor, "token.revoked", token_id)
    return revoked


def revoke_token_of(session: AnySession, clock: Clock, actor: Actor, user_id: str, token_id: str) -> None:
    """Revoke one of this user's own tokens.

    Raises:
        TokenNotFound: it is another's, or over, or was never there.
    """
    if not _revoke(session, CliToken, clock(), (CliToken.id == token_id) & (CliToken.user_id == user_id)):
        raise TokenNotFound(f"There is no CLI token {token_id!r} of yours that could be revoked.")
    record(session, clock(), actor, "token.revoked", token_id)


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
    ended = _revoke(session, BrowserSession, clock(), mine)
    if ended:
        record(session, clock(), actor, "session.ended", session_id)
    return ended


def _living(kind: type[Issued], now: datetime) -> Select[Any]:
    """Select what is neither revoked nor expired, of users that have neither been disabled nor changed the password."""
    return (
        select(kind)
        .join(User, User.id == kind.user_id)
        .where(
            kind.revoked_at.is_(None),
            kind.expires_at > now,
            User.still_counts(kind.issued_at),
        )
    )


def _living_session(now: datetime) -> Select[Any]:
    return _living(BrowserSession, now).where(BrowserSession.issued_at <= now)


def _revoke(session: AnySession, kind: type[Issued], now: datetime, which: ColumnElement[bool]) -> bool:
    """Revoke what is not revoked yet; of several requests at once, one is told that it did."""
    unrevoked = update(kind).where(which, kind.revoked_at.is_(None))
    return session.execute(unrevoked.values(revoked_at=now)).rowcount > 0  # type: ignore[attr-defined,no-any-return]
