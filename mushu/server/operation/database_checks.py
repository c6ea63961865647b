"""What the doctor looks at in the database, and in the files that belong to it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, text

from mushu.server.core import Core, db
from mushu.server.db import most_connections, reading
from mushu.server.delivery.models import LATEST_ARRIVAL, Delivery
from mushu.server.errors import DatabaseUnavailable
from mushu.server.gate.policies import PolicyRow
from mushu.server.instance import JOURNAL_FILE
from mushu.server.keys import revocation_journal
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.maintain import stalled_rotations
from mushu.server.limit_stores import look_at_store
from mushu.server.operation.machine_checks import Check
from mushu.server.operation.upgrading.copies import list_copies
from mushu.server.operation.upgrading.migrations import pending_migrations
from mushu.server.orgs.models import Organization
from mushu.server.sealing import faults, sealed_values
from mushu.server.usage import KeyUse
from mushu.server.usage.engine import reading_usage

#: Sentences about things of one kind; `flask sealing status` has them all.
_ENOUGH_TOLD: Final = 3
#: What PostgreSQL has for an account that is no superuser: of the server, of this database, and of the account itself.
_CONNECTION_LIMIT: Final = """
    SELECT LEAST(
        CAST(current_setting('max_connections') AS integer)
            - CAST(current_setting('superuser_reserved_connections') AS integer)
            - COALESCE(CAST(current_setting('reserved_connections', true) AS integer), 0),
        (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
        (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
    )
"""


def schema(_: Core) -> Iterator[Check]:
    behind = pending_migrations()
    advice = "Run script/up, or `flask database upgrade`: both make a copy of the database first."
    yield Check("schema", not behind, f"{len(behind)} migrations are missing. {advice}" if behind else "up to date")


def copies(core: Core) -> Iterator[Check]:
    found = list_copies(core.settings.instance_path)
    size = sum(copy.size for copy in found) // (1024 * 1024)
    where = f" in {core.settings.instance_path}, {size} MB: docs/upgrading.md" if found else ""
    yield Check("copies", True, f"{len(found)} of the database from before migrations{where}")


def integrity(_: Core) -> Iterator[Check]:
    if db.engine.dialect.name != "sqlite":
        return
    with reading(db.session):
        answer = db.session.scalar(text("PRAGMA quick_check(1)"))
    good = answer == "ok"
    yield Check("database", good, "sound" if good else f"damaged ({answer}). Restore a backup: docs/backup.md.")


def database_connections(core: Core) -> Iterator[Check]:
    if db.engine.dialect.name != "postgresql":
        return
    with reading(db.session):
        limit = db.session.scalar(text(_CONNECTION_LIMIT)) or 0
    settings = core.settings
    each = most_connections(settings.worker_threads)
    needed = settings.workers * each
    # One is for housekeeping or a command.
    good = needed < limit
    detail = f"MUSHU_WORKERS={settings.workers} may open {needed} ({each} each), and the database has {limit}"
    advice = "Raise its max_connections, or lower MUSHU_WORKERS, MUSHU_BODIES or MUSHU_TRANSFERS: docs/settings.md."
    yield Check("database connections", good, detail if good else f"{detail}: requests will fail under load. {advice}")


def sealing(core: Core) -> Iterator[Check]:
    with reading(db.session):
        count = sum(1 for _ in sealed_values(db.session))
        broken = faults(db.session, core.sealing_keys)
    yield Check(
        "sealing", not broken, " ".join(broken[:_ENOUGH_TOLD]) or f"{count} encrypted values, all of which open"
    )


def deliveries(core: Core) -> Iterator[Check]:
    with reading(db.session):
        pending = db.session.scalar(select(func.count()).where(ApiKey.stored_state == State.PENDING)) or 0
        # A value that may still arrive is watched for a while, which is no fault.
        settled = Delivery.lease_until < core.clock() - LATEST_ARRIVAL
        overdue = select(func.count()).select_from(Delivery).where(Delivery.cleanup_due, settled)
        due = db.session.scalar(overdue) or 0
    good = not pending and not due
    detail = (
        "nothing is unfinished"
        if good
        else (
            f"{pending} keys are not delivered yet and {due} dead values are to be removed. Run `flask keys reconcile`."
        )
    )
    yield Check("deliveries", good, detail)


def usage(_: Core) -> Iterator[Check]:
    try:
        with reading(db.session), reading_usage(db.session) as usage:
            usage.execute(select(KeyUse.key_id).limit(1)).all()
    except DatabaseUnavailable as error:
        cause = getattr(error.__cause__, "orig", None) or error
        advice = "Stop the server, move the file *-usage.sqlite3 away with its -wal and -shm, and start it"
        yield Check("usage", False, f"it cannot be read ({cause}). {advice}: counting begins anew.")
    else:
        yield Check("usage", True, "it can be read")


def limits(core: Core) -> Iterator[Check]:
    limited = [column.is_not(None) for column in (ApiKey.limits, Organization.limits, PolicyRow.limits)]
    with reading(db.session):
        some = any(db.session.execute(select(where.left).where(where).limit(1)).all() for where in limited)
    yield Check("limits", *look_at_store(core.settings, in_use=some))


def journal(core: Core) -> Iterator[Check]:
    path = core.settings.instance_path / JOURNAL_FILE
    fault = _why_not_writable(path)
    if fault is not None:
        advice = "As long as this lasts, restoring an old backup brings keys back that are deleted meanwhile. Mend it."
        yield Check("journal", False, f"{path}, which tells of revoked keys, cannot be written ({fault}). {advice}")
        return
    with reading(db.session):
        behind = revocation_journal.is_behind(db.session)
    if behind:
        advice = "an older database was put in place, or a crash was in between. Run `flask keys reconcile`."
        yield Check("journal", False, f"{path} tells of revoked keys that this database may not know of: {advice}")
    else:
        yield Check("journal", True, "every revocation that it tells of was followed")


def _why_not_writable(path: Path) -> str | None:
    """Try it as the journal itself does, but make no file: looking changes nothing."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC))
    except FileNotFoundError:
        return None if os.access(path.parent, os.W_OK | os.X_OK) else f"{path.parent} takes no new file"
    except OSError as error:
        return error.strerror
    return None


def rotations(core: Core) -> Iterator[Check]:
    with reading(db.session):
        stalled = stalled_rotations(db.session, core.clock())
    told = " ".join(f"{found.key_id} ({found.key_name}): {found.detail}" for found in stalled)
    yield Check("rotations", not stalled, told or "none has stalled")
