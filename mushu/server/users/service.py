"""Users: how they are made, found, disabled, and given a password."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sqlalchemy import Integer, bindparam, select

from mushu.keyformat import public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.environments import Source, prepare
from mushu.server.errors import EmailTaken, Invalid, LoginRefused, UserNotFound
from mushu.server.orgs.invitations import withdraw
from mushu.server.orgs.models import Membership, OrgInvitation
from mushu.server.orgs.service import checked_name
from mushu.server.paging import Order, Page, Window, ordered_page
from mushu.server.users.known_clients import forget_clients
from mushu.server.users.models import User

if TYPE_CHECKING:  # Argon2 is loaded by who checks a password, not by `flask keys list`
    from mushu.server.users.passwords import Passwords

# What delivers mail decides what an address is (RFC 5321); this only keeps out mistakes, and what changes how it looks.
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_EMAIL_LENGTH = 254
_EMAILS: Final = prepare(select(User.id, User.email).where(User.id.in_(bindparam("ids", expanding=True))))
_EMAILS_IN_ORG: Final = prepare(
    select(Membership.user_id, User.email)
    .join(User, User.id == Membership.user_id)
    .where(Membership.org_id == bindparam("org_id"))
    .order_by(Membership.joined_at, Membership.user_id)
    .limit(bindparam("limit", type_=Integer))
)


def create_user(session: AnySession, clock: Clock, actor: Actor, email: str, name: str | None = None) -> User:
    """Create a user without a password, who cannot sign in until one is set.

    Raises:
        Invalid: the address or the name is not usable.
        EmailTaken: a user has this address already.
    """
    email = checked_email(email)
    if find_user_by_email(session, email) is not None:
        raise EmailTaken(f"There is a user with the address {email} already.", field="email")
    name = checked_name(name) if name is not None else None
    now = clock()
    user = User(id=public_id("usr"), email=email, name=name, created_at=now, tokens_valid_from=now)
    session.add(user)
    session.flush()
    record(session, now, actor, "user.created", user.id, details={"email": email})
    return user


def find_user(session: AnySession, user_id: str, *, fresh: bool = False) -> User | None:
    """Return the user; `fresh` where the session may know an older state of the row."""
    return session.get(User, user_id, populate_existing=fresh)


def lock_user(session: AnySession, user_id: str) -> User | None:
    """Return the user as they are now; nobody changes them, or signs in as them, until this transaction ends.

    Whoever gives something that ends with the password calls this first, and whoever changes the password, too.
    """
    locked = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return session.scalars(locked.execution_options(populate_existing=True)).one_or_none()


def find_user_by_email(session: AnySession, email: str) -> User | None:
    return session.scalars(select(User).where(User.email == email.strip().lower())).one_or_none()


def get_user(session: AnySession, user_id: str) -> User:
    """Return the user.

    Raises:
        UserNotFound: there is none.
    """
    user = find_user(session, user_id)
    if user is None:
        raise UserNotFound(f"There is no user {user_id!r}.", field="user_id")
    return user


def get_user_by_email(session: AnySession, email: str) -> User:
    """Return the user with this address.

    Raises:
        UserNotFound: there is none.
    """
    user = find_user_by_email(session, email)
    if user is None:
        raise UserNotFound(
            f"There is no user with the address {email!r}. `flask users create --email {email}` creates one.",
            field="email",
        )
    return user


def list_users(session: AnySession, window: Window) -> Page[User]:
    """Return a page of all users, oldest first."""
    return ordered_page(session, select(User), Order((User.created_at, User.id)), window)


def emails_of(source: Source, user_ids: Iterable[str]) -> dict[str, str]:
    """Return the addresses of these users by id; unknown ids are left out."""
    return dict(_EMAILS.rows(source, {"ids": [*user_ids]}))


def emails_of_members(source: Source, org_id: str, most: int) -> dict[str, str]:
    """Return the addresses of members of an organization by id, of those who joined first."""
    return dict(_EMAILS_IN_ORG.rows(source, {"org_id": org_id, "limit": most}))


def set_password(session: AnySession, clock: Clock, actor: Actor, user: User, password_hash: str) -> None:
    """Set the password; what was given to the user before is dead from this moment: tokens, sessions, links, codes.

    No client is known any more, either.

    Args:
        password_hash: from `Passwords.hash`, made before the transaction began: hashing takes long on purpose.
    """
    lock_user(session, user.id)  # before the clock is read: what is given a moment earlier bears an earlier time
    user.password_hash = password_hash
    user.tokens_valid_from = clock()
    forget_clients(session, user.id)
    record(session, user.tokens_valid_from, actor, "user.password_set", user.id)


def disable_user(session: AnySession, clock: Clock, actor: Actor, user: User) -> None:
    """Shut the user out at once: no sign-in; what was given to the user before is dead, and what they offered."""
    lock_user(session, user.id)
    now = clock()
    if user.disabled_at is None:
        user.disabled_at = user.tokens_valid_from = now
        forget_clients(session, user.id)
        withdraw(session, clock, actor, OrgInvitation.invited_by == user.id, "user.disabled")
        record(session, now, actor, "user.disabled", user.id)


def enable_user(session: AnySession, clock: Clock, actor: Actor, user: User) -> None:
    """Let a disabled user sign in again; what was given before stays dead."""
    lock_user(session, user.id)
    if user.disabled_at is not None:
        user.disabled_at = None
        record(session, clock(), actor, "user.enabled", user.id)


def add_operator(session: AnySession, clock: Clock, actor: Actor, user: User) -> None:
    """Let the user change over HTTP what belongs to the server and not to an organization."""
    lock_user(session, user.id)
    if user.operator_since is None:
        user.operator_since = clock()
        record(session, user.operator_since, actor, "user.operator_added", user.id)


def remove_operator(session: AnySession, clock: Clock, actor: Actor, user: User) -> None:
    """Take away what `add_operator` gave."""
    lock_user(session, user.id)
    if user.operator_since is not None:
        user.operator_since = None
        record(session, clock(), actor, "user.operator_removed", user.id)


def check_password(passwords: "Passwords", user: User | None, password: Secret) -> User:
    """Return the user if the password is theirs; called outside of a transaction, because it takes long on purpose.

    No such user, wrong password, no password set and disabled user take the same path and get the same words.

    Raises:
        LoginRefused: it is not.
    """
    known_hash = user.password_hash if user is not None and user.disabled_at is None else None
    if not passwords.verify(known_hash, password) or user is None:
        raise LoginRefused("The e-mail address or the password is wrong.")
    return user


def checked_email(email: str) -> str:
    """Return the address in lower case.

    Raises:
        Invalid: it is no address.
    """
    email = email.strip().lower()
    if len(email) > _EMAIL_LENGTH or _EMAIL.fullmatch(email) is None or not email.isprintable():
        raise Invalid("The e-mail address must look like name@example.com.", field="email")
    return email
