from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import TokenNotFound
from mushu.server.tokens.models import CliToken
from mushu.server.users.models import User

#: The contract: a CLI token lives for 12 hours.
LIFETIME: Final = timedelta(hours=12)


def issue_token(
    session: AnySession, clock: Clock, user: User, client_name: str | None = None
) -> tuple[CliToken, Secret]:
    """Return a new token of the user, and its plaintext, which is nowhere else.

    Args:
        client_name: what asked for it, in its own words; shown where tokens are listed.
    """
    now = clock()
    secret = generate(Prefix.CLI_TOKEN)
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


def list_tokens(session: AnySession, clock: Clock, user_id: str) -> Sequence[CliToken]:
    """Return the user's tokens that still work, newest first."""
    query = (
        select(CliToken)
        .join(User, User.id == CliToken.user_id)
        .where(
            CliToken.user_id == user_id,
            CliToken.revoked_at.is_(None),
            CliToken.expires_at > clock(),
            CliToken.issued_at >= User.tokens_valid_from,
            User.disabled_at.is_(None),
        )
    )
    return session.scalars(query.order_by(CliToken.issued_at.desc(), CliToken.id)).all()


def revoke_token(session: AnySession, clock: Clock, actor: Actor, token_id: str) -> bool:
    """Revoke the token; tell whether it was still good for something."""
    return _revoke(session, clock, actor, CliToken.id == token_id, token_id)


def revoke_token_of(session: AnySession, clock: Clock, actor: Actor, user_id: str, token_id: str) -> None:
    """Revoke one of this user's own tokens.

    Raises:
        TokenNotFound: it is another's, or over, or was never there.
    """
    if not _revoke(session, clock, actor, and_(CliToken.id == token_id, CliToken.user_id == user_id), token_id):
        raise TokenNotFound(f"There is no CLI token {token_id!r} of yours that could be revoked.")


def _revoke(session: AnySession, clock: Clock, actor: Actor, which: ColumnElement[bool], token_id: str) -> bool:
    now = clock()
    living = update(CliToken).where(which, CliToken.revoked_at.is_(None))
    revoked: int = session.execute(living.values(revoked_at=now)).rowcount  # type: ignore[attr-defined]
    if revoked:
        record(session, now, actor, "token.revoked", token_id)
    return revoked > 0
