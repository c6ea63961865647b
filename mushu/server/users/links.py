from datetime import timedelta
from typing import Final

from sqlalchemy import select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import LinkNotFound
from mushu.server.users.models import PasswordLink, User
from mushu.server.users.service import get_user, set_password

LIFETIME: Final = timedelta(days=3)
_GONE = "This link was used already, has expired, or is incomplete. Ask your operator for a new one."


def issue_link(session: AnySession, clock: Clock, actor: Actor, user: User) -> Secret:
    """Return the secret of a new link, and make the user's older links useless."""
    now = clock()
    secret = generate(Prefix.PASSWORD_LINK)
    _use_up(session, clock, user.id)
    link = PasswordLink(
        id=public_id("pln"), user_id=user.id, digest=secret.digest(), created_at=now, expires_at=now + LIFETIME
    )
    session.add(link)
    record(session, now, actor, "user.link_issued", user.id, details={"link": link.id})
    return secret


def find_open_link(session: AnySession, clock: Clock, user_id: str) -> PasswordLink | None:
    """Return a link of the user that can still be used."""
    mine = select(PasswordLink).where(PasswordLink.user_id == user_id, PasswordLink.used_at.is_(None))
    return session.scalars(mine.where(PasswordLink.expires_at > clock()).limit(1)).one_or_none()


def get_link_user(session: AnySession, clock: Clock, secret: Secret) -> User:
    """Return the user that the link is for, without using it up.

    Raises:
        LinkNotFound: unknown, used or expired.
    """
    link = session.scalars(select(PasswordLink).where(PasswordLink.digest == secret.digest())).one_or_none()
    if link is None or link.used_at is not None or link.expires_at <= clock():
        raise LinkNotFound(_GONE)
    user = get_user(session, link.user_id)
    if user.disabled_at is not None:
        raise LinkNotFound(_GONE)
    return user


def redeem_link(session: AnySession, clock: Clock, secret: Secret, password_hash: str) -> User:
    """Set the password of the link's user and use the link up.

    Raises:
        LinkNotFound: unknown, used or expired, also when another request was a moment faster.
    """
    user = get_link_user(session, clock, secret)
    if not _use_up(session, clock, user.id, secret.digest()):
        raise LinkNotFound(_GONE)
    _use_up(session, clock, user.id)
    set_password(session, clock, Actor(ActorKind.USER, user.id), user, password_hash)
    return user


def _use_up(session: AnySession, clock: Clock, user_id: str, digest: str | None = None) -> bool:
    """Mark the user's unused links, or the one with `digest`, as used; tell whether there was any."""
    unused = update(PasswordLink).where(PasswordLink.user_id == user_id, PasswordLink.used_at.is_(None))
    if digest is not None:
        unused = unused.where(PasswordLink.digest == digest)
    return session.execute(unused.values(used_at=clock())).rowcount > 0  # type: ignore[attr-defined,no-any-return]
