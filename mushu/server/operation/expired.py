"""What has expired and nobody needs: tokens, sessions, links, codes, invitations and counters of failed logins."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.orgs.models import OrgInvitation
from mushu.server.tokens.models import BrowserSession, CliToken, DeviceAuthorization
from mushu.server.users.models import LoginFailures, PasswordLink

#: How long they are kept after their time was over.
KEPT: Final = timedelta(days=30)
_AT_ONCE: Final = 500
#: Transactions of one round for one table.
_ROUND: Final = 20

_Key: TypeAlias = InstrumentedAttribute[Any]


def delete_expired(session: AnySession, clock: Clock) -> int:
    """Delete the rows of what was over 30 days ago, and return how many; owns its transactions.

    Nothing depends on it: each of them is refused from the moment on at which it ends. The audit trail keeps what was
    done with them. A few hundred rows go with each transaction, because SQLite has one writer at a time.
    """
    return sum(_clean(session, key, over) for key, over in _what_is_over(clock() - KEPT))


def _what_is_over(last: datetime) -> Sequence[tuple[_Key, ColumnElement[bool]]]:
    return (
        (CliToken.id, CliToken.expires_at <= last),
        (BrowserSession.id, BrowserSession.expires_at <= last),
        (PasswordLink.id, PasswordLink.expires_at <= last),
        (DeviceAuthorization.id, DeviceAuthorization.expires_at <= last),
        (OrgInvitation.id, OrgInvitation.expires_at <= last),
        (LoginFailures.subject, (LoginFailures.told_at <= last) & (LoginFailures.untold == 0)),
    )


def _clean(session: AnySession, key: _Key, over: ColumnElement[bool]) -> int:
    deleted = 0
    for _ in range(_ROUND):
        with reading(session):  # without the lock of a writer, where there is nothing to do
            due = session.scalars(select(key).where(over).limit(_AT_ONCE)).all()
        if not due:
            break
        with writing(session):
            session.execute(delete(key.class_).where(key.in_(due), over).execution_options(synchronize_session=False))
        deleted += len(due)
    return deleted
