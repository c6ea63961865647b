"""Failed sign-ins in the audit trail, so that guessing can be seen there, and cannot fill it.

Anybody can fail to sign in, as often as they like. The first failure of an account is told at once; what follows is
counted, and told at most once an hour, with the number. Accounts that are not there share one count. So the trail
grows by one event for each account and hour at most, whatever strangers do. What was typed is not kept: it may be a
password in the wrong field. Attempts that the throttle refuses are not looked at, and not counted.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from mushu.server.audit.service import SYSTEM, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, insert_into, reading, writing
from mushu.server.users.models import LoginFailures, User

#: The least time between two events about one account.
INTERVAL: Final = timedelta(hours=1)
UNKNOWN: Final = "unknown"


def note_failure(session: AnySession, clock: Clock, user: User | None, address: str) -> None:
    """Count a sign-in that failed, and tell of it if it is time.

    Args:
        user: whose account it was, or None where there is no such account; both take the same statements.
    """
    subject = user.id if user is not None else UNKNOWN
    new = insert_into(session, LoginFailures).values(subject=subject, told_at=None, untold=0, address="")
    session.execute(new.on_conflict_do_nothing())
    failures = _locked(session, subject)
    failures.untold += 1
    failures.address = address[:64]
    now = clock()
    if failures.told_at is None or failures.told_at + INTERVAL <= now:
        _tell(session, now, failures)


def tell_failures(session: AnySession, clock: Clock) -> int:
    """Tell of failures that nobody was told of for an hour; return of how many accounts. Owns its transactions."""
    now = clock()
    with reading(session):
        due = select(LoginFailures.subject).where(LoginFailures.untold > 0, LoginFailures.told_at <= now - INTERVAL)
        subjects = session.scalars(due.order_by(LoginFailures.subject).limit(100)).all()
    for subject in subjects:
        with writing(session):
            failures = _locked(session, subject)
            if failures.untold and failures.told_at is not None and failures.told_at + INTERVAL <= now:
                _tell(session, now, failures)
    return len(subjects)


def _tell(session: AnySession, now: datetime, failures: LoginFailures) -> None:
    details: dict[str, Detail] = {"count": failures.untold, "address": failures.address}
    record(session, now, SYSTEM, "login.failed", failures.subject, details=details)
    failures.told_at, failures.untold = now, 0


def _locked(session: AnySession, subject: str) -> LoginFailures:
    query = select(LoginFailures).where(LoginFailures.subject == subject).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()
