"""A process beside the workers that does what time and crashes leave to do, as long as the server runs.

It deletes what has expired: tokens, sessions, links, codes, invitations, counters of failed logins and of limits. It
sums up usage. Keys that are to retire open nothing from their moment on, whether this runs or not; here it is written
down, and their values are taken away. `flask keys reconcile` and `flask keys rotate --due` do the same for who serves
in another way.
"""

import logging
import os
import signal
from collections.abc import Sequence
from datetime import datetime, timedelta
from select import select as wait_for
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from mushu.server import logs
from mushu.server.audit import SYSTEM
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.core import context_for, core_context, db
from mushu.server.db import AnySession
from mushu.server.lifecycle.maintain import keep_house_by_key
from mushu.server.limit_stores import open_store
from mushu.server.orgs.models import OrgInvitation
from mushu.server.paging import delete_in_rounds
from mushu.server.tokens.models import BrowserSession, CliToken, DeviceAuthorization
from mushu.server.usage.store import keep_house_of_usage
from mushu.server.users.models import LoginFailures, PasswordLink
from mushu.server.users.throttle import tell_failures

_LOG: Final = logging.getLogger(__name__)
#: How long what has expired is kept after its time was over.
KEPT: Final = timedelta(days=30)


def start(settings: Settings) -> int | None:
    """Fork the process, and return its id; None where the settings want none.

    It ends when this process has ended and all that this one forks later, however they end: as long as a worker is left
    that serves, there is a house to keep.
    """
    if not settings.housekeeping_seconds:
        return None
    # Nothing is ever written to it: that its other end is closed is the news, and no death can withhold that.
    ended, ours = os.pipe()
    os.set_inheritable(ours, False)
    if child := os.fork():
        os.close(ended)
        return child
    os.close(ours)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; the server ends first
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logs.configure(settings.log_level)
        keep(settings, ended)
    finally:
        os._exit(0)


def keep(settings: Settings, ended: int) -> None:
    """Keep house at intervals until the other end of the pipe `ended` is closed."""
    while not wait_for([ended], [], [], settings.housekeeping_seconds)[0]:
        tick(settings)


def tick(settings: Settings) -> None:
    """Keep house once; what fails is logged, and tried again the next time."""
    try:
        with core_context(lambda: settings) as core:
            for found in keep_house_by_key(context_for(SYSTEM)):
                told = {"key_id": found.key_id, "result": str(found.verdict), "detail": found.detail}
                _LOG.info("housekeeping", extra=told)
            tell_failures(db.session, core.clock)
            if ended := delete_expired(db.session, core.clock):
                _LOG.info("tokens, sessions, links and invitations deleted", extra={"deleted": ended})
            for duty in core.resources.housekeeping:
                duty(db.session, core.clock, settings)
            keep_house_of_usage(db.engine, settings.instance_path, core.clock())
            if not settings.limits_url and settings.limits_path.exists():
                open_store(settings).sweep(core.clock().timestamp())
    except Exception as error:
        _LOG.exception("housekeeping failed", exc_info=error)


def delete_expired(session: AnySession, clock: Clock) -> int:
    """Delete the rows of what was over 30 days ago, and return how many; owns its transactions.

    Nothing depends on it: each of them is refused from the moment on at which it ends. The audit trail keeps what was
    done with them.
    """
    return sum(_clean(session, key, over) for key, over in _what_is_over(clock() - KEPT))


def _what_is_over(last: datetime) -> Sequence[tuple[InstrumentedAttribute[Any], ColumnElement[bool]]]:
    return (
        (CliToken.id, CliToken.expires_at <= last),
        (BrowserSession.id, BrowserSession.expires_at <= last),
        (PasswordLink.id, PasswordLink.expires_at <= last),
        (DeviceAuthorization.id, DeviceAuthorization.expires_at <= last),
        (OrgInvitation.id, OrgInvitation.expires_at <= last),
        (LoginFailures.subject, (LoginFailures.told_at <= last) & (LoginFailures.untold == 0)),
    )


def _clean(session: AnySession, key: InstrumentedAttribute[Any], over: ColumnElement[bool]) -> int:
    def delete_(due: Sequence[Any]) -> int:
        session.execute(delete(key.class_).where(key.in_(due), over).execution_options(synchronize_session=False))
        return len(due)

    return delete_in_rounds(session, lambda most: session.scalars(select(key).where(over).limit(most)).all(), delete_)
