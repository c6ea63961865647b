"""Proving who one is with a password, in phases that own their transactions: for the browser and for the API alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind
from mushu.server.client_address import shown
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import LoginRefused
from mushu.server.users.known_clients import SignInSource, remember_network
from mushu.server.users.models import User
from mushu.server.users.passwords import Passwords
from mushu.server.users.service import check_password, find_user, find_user_by_email, lock_user, set_password
from mushu.server.users.throttle import Counted, count_attempt, count_own_attempt, forgive, note_failure

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What someone says to prove who they are, and where from."""

    email: str
    password: Secret
    source: SignInSource


def sign_in(
    session: AnySession, clock: Clock, passwords: Passwords, attempt: LoginAttempt, then: Callable[[User], Result]
) -> Result:
    """Return what `then` makes of the user whose e-mail and password these are; owns its transactions.

    Args:
        then: called in the last transaction, so that no change of the password comes between proof and use.

    Raises:
        LoginRefused: they are nobody's.
        TooManyAttempts: the account or the network has to wait.
        Busy: too many others sign in; nothing is counted.
    """

    def enter(user: User) -> Result:
        remember_network(session, clock, user, attempt.source)
        return then(user)

    with passwords.turn():
        # 1. Count the attempt, whatever will come of it.
        with writing(session):
            counted = count_attempt(session, clock, attempt.email, attempt.source)
        with reading(session):
            found = find_user_by_email(session, attempt.email)
        claim = _Claim(found, attempt.password, counted, shown(attempt.source.address))
        return _prove(session, clock, passwords, claim, enter)


def change_password(
    session: AnySession,
    clock: Clock,
    passwords: Passwords,
    user: User,
    current: Secret,
    new: Secret,
    then: Callable[[User], Result],
) -> Result:
    """Set a new password for who knows the current one; guessing it is slowed down like signing in.

    Args:
        then: called in the transaction that sets it.

    Raises:
        LoginRefused: the current password is wrong.
        TooManyAttempts: too many were.
        Busy: too many others sign in; nothing is counted.
        Invalid: the new one is too short or too long.
    """
    new_hash = passwords.hash(new)

    def change(proven: User) -> Result:
        set_password(session, clock, Actor(ActorKind.USER, proven.id), proven, new_hash)
        return then(proven)

    with passwords.turn():
        with writing(session):
            counted = count_own_attempt(session, clock, user.id)
        with reading(session):
            found = find_user(session, user.id, fresh=True)
        claim = _Claim(found, current, counted, f"user:{user.id}")
        return _prove(session, clock, passwords, claim, change)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A password that is said to be a user's, once the attempt was counted."""

    found: User | None
    password: Secret
    counted: Counted
    #: Where it came from, for the audit trail.
    origin: str


def _prove(
    session: AnySession, clock: Clock, passwords: Passwords, claim: _Claim, then: Callable[[User], Result]
) -> Result:
    """Return what `then` makes of the user that was found, if the password is theirs."""
    known_hash = claim.found.password_hash if claim.found is not None else None
    # 2. Check outside of any transaction, because that takes long on purpose.
    try:
        user = check_password(passwords, claim.found, claim.password)
    except LoginRefused:
        with writing(session):
            note_failure(session, clock, claim.found, claim.origin)
        raise
    # 3. Forgive, unless the password changed or the user was disabled while it was checked.
    with writing(session):
        current = lock_user(session, user.id)
        if current is None or current.password_hash != known_hash or current.disabled_at is not None:
            raise LoginRefused("The account changed while you signed in. Try again.")
        forgive(session, claim.counted)
        return then(current)
