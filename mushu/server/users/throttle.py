"""Slows guessing of passwords down, per account and per address, across all worker processes.

Each attempt is counted before its password is looked at, so that a thousand at once are a thousand, and forgiven when
it was right. The first few are free; then each failure doubles the wait, up to fifteen minutes. What comes during a
wait is refused unseen and not counted, so that an attacker cannot keep the owner out for longer than one wait. Accounts
are counted by what was typed: whether there is such an account makes no difference.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from sqlalchemy import delete, select

from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import TooManyAttempts
from mushu.server.users.models import LoginThrottle

#: After so long without a failure, everything is forgotten.
MEMORY: Final = timedelta(hours=24)
LONGEST_WAIT: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Policy:
    """How many failures are free, and how long the first wait is."""

    free: int
    first_wait: timedelta

    def wait(self, failures: int) -> timedelta:
        """Return how long to wait after so many failures."""
        if failures <= self.free:
            return timedelta(0)
        doublings = min(failures - self.free - 1, 20)
        return min(self.first_wait * (1 << doublings), LONGEST_WAIT)


ACCOUNT: Final = Policy(free=5, first_wait=timedelta(seconds=5))
#: Many people can share an address.
ADDRESS: Final = Policy(free=50, first_wait=timedelta(seconds=1))


def count_attempt(session: AnySession, clock: Clock, email: str, address: str) -> None:
    """Count an attempt to sign in as failed, before its password is looked at; `forgive` takes it back.

    Args:
        address: the network address that the request came from.

    Raises:
        TooManyAttempts: the account or the address has to wait; the error says for how long.
    """
    now = clock()
    session.execute(delete(LoginThrottle).where(LoginThrottle.last_failed_at < now - MEMORY))
    subjects = {_account(email): ACCOUNT, _address(address): ADDRESS}
    rows = {subject: _locked(session, subject) for subject in sorted(subjects)}
    waits = [row.blocked_until - now for row in rows.values() if row is not None and row.blocked_until > now]
    if waits:
        seconds = ceil(max(waits).total_seconds())
        raise TooManyAttempts(f"Signing in failed too often. Try again in {seconds} seconds.", retry_after=seconds)
    for subject, policy in subjects.items():
        _count(session, now, rows[subject], subject, policy)


def forgive(session: AnySession, email: str, address: str) -> None:
    """Forget the failures of an account whose owner just signed in, and take the one of the address back."""
    session.execute(delete(LoginThrottle).where(LoginThrottle.subject == _account(email)))
    row = _locked(session, _address(address))
    if row is not None:
        row.failures -= 1
        row.blocked_until = row.last_failed_at


def _count(session: AnySession, now: datetime, row: LoginThrottle | None, subject: str, policy: Policy) -> None:
    if row is None:
        session.add(LoginThrottle(subject=subject, failures=1, last_failed_at=now, blocked_until=now + policy.wait(1)))
    else:
        row.failures += 1
        row.last_failed_at, row.blocked_until = now, now + policy.wait(row.failures)


def _locked(session: AnySession, subject: str) -> LoginThrottle | None:
    """Return the row, locked where the database locks rows; on SQLite the transaction holds the only writing lock."""
    query = select(LoginThrottle).where(LoginThrottle.subject == subject).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _account(email: str) -> str:
    return "account:" + hashlib.sha256(email.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def _address(address: str) -> str:
    return f"address:{address[:64]}"
