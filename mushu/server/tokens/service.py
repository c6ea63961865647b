"""CLI tokens: how each is issued, listed and revoked.

The plaintext of a token comes out of here once; the database holds its digest. `gate/` looks it up.
"""

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import TokenNotFound
from mushu.server.paging import Page, Window, page
from mushu.server.tokens.models import LIFETIME, CliToken, living, revoke
from mushu.server.users.models import User


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
    mine = living(CliToken, clock()).where(CliToken.user_id == user_id)
    return page(session, mine, CliToken.issued_at, CliToken.id, window)


def revoke_token(session: AnySession, clock: Clock, actor: Actor, token_id: str) -> bool:
    """Revoke the token; tell whether it was still good for something."""
    revoked = revoke(session, CliToken, clock(), CliToken.id == token_id)
    if revoked:
        record(session, clock(), actor, "token.revoked", token_id)
    return revoked


def revoke_token_of(session: AnySession, clock: Clock, actor: Actor, user_id: str, token_id: str) -> None:
    """Revoke one of this user's own tokens.

    Raises:
        TokenNotFound: it is another's, or over, or was never there.
    """
    if not revoke(session, CliToken, clock(), (CliToken.id == token_id) & (CliToken.user_id == user_id)):
        raise TokenNotFound(f"There is no CLI token {token_id!r} of yours that could be revoked.")
    record(session, clock(), actor, "token.revoked", token_id)
