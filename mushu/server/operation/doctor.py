"""`flask doctor`: looks at what can be wrong with a server, and says how to repair it."""

import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from mushu.address import is_loopback_host, leaves_in_the_clear
from mushu.destination import ENTRY_POINT_GROUP
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.db import is_unverified, most_connections, reading
from mushu.server.delivery.models import LATEST_ARRIVAL, Delivery
from mushu.server.errors import ConfigurationError, DatabaseUnavailable, StorageUnavailable
from mushu.server.gate.policies import PolicyRow
from mushu.server.instance import JOURNAL_FILE, SECRET_KEY_FILE, instance_path
from mushu.server.keys import revocation_journal
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.maintain import stalled_rotations
from mushu.server.limit_stores import look_at_store
from mushu.server.operation.serving import SUPPORTED as STALLED_CONNECTIONS_SEEN
from mushu.server.operation.upgrading.copies import list_copies
from mushu.server.operation.upgrading.migrations import pending_migrations
from mushu.server.orgs.models import Organization
from mushu.server.sealing import faults, sealed_values
from mushu.server.usage import KeyUse
from mushu.server.usage.engine import reading_usage

_ENOUGH_DISK: Final = 256 * 1024 * 1024
#: For 1,024 connections in a worker, and what it needs besides.
_ENOUGH_DESCRIPTORS: Final = 1_536
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
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - looked for


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what is there or, where it is bad, how to repair it."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Check]:
    """Look at everything; what depends on something that is broken is not looked at."""
    try:
        settings = Settings.as_served()
    except ConfigurationError as error:
        return [Check("settings", False, error.detail)]
    checks = [Check("settings", True, f"read; the instance folder is {settings.instance_path}")]
    if not (settings.instance_path / SECRET_KEY_FILE).exists():
        return [*checks, Check("instance", False, f"{instance_path()} is not set up. Run script/up once.")]
    with core_context(lambda: settings) as core:
        for look in LOOKS:
            checks.extend(_looked_at(look, core))
    return checks


def examine_running(core: Core) -> list[Check]:
    """Look, within a server that runs, at what costs little."""
    return [check for look in LOOKS if look not in _SLOW for check in _looked_at(look, core)]


def _looked_at(look: Callable[[Core], Iterator[Check]], core: Core) -> Iterator[Check]:
    try:
        yield from look(core)
    except (SQLAlchemyError, OSError, ConfigurationError) as error:
        cause = getattr(error, "orig", None) or error
        yield Check(look.__name__.strip("_"), False, f"could not be looked at: {cause}")


def _permissions(core: Core) -> Iterator[Check]:
    open_paths = [path for path in _private_paths(core.settings) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_paths:
        fixes = "; ".join(f"chmod go= {path}" for path in open_paths)
        yield Check("permissions", False, f"others on this machine can read what is private. Mend it with: {fixes}")
    else:
        yield Check("permissions", True, "only this account can read the secrets and the database")


def _private_paths(settings: Settings) -> list[Path]:
    instance = settings.instance_path
    secrets = [instance / SECRET_KEY_FILE, settings.sealing_keys_path]
    candidates = [instance, *secrets, *instance.glob("*.sqlite3*"), *instance.glob("*.env")]
    return [path for path in candidates if path.exists()]


def _disk(core: Core) -> Iterator[Check]:
    free = shutil.disk_usage(core.settings.instance_path).free
    megabytes = free // (1024 * 1024)
    yield Check("disk", free >= _ENOUGH_DISK, f"{megabytes} MB free" + ("" if free >= _ENOUGH_DISK else "; make room"))


def _address(core: Core) -> Iterator[Check]:
    settings = core.settings
    served = not is_loopback_host(settings.host) and not settings.public_url.startswith("https://")
    exposed = served or leaves_in_the_clear(settings.base_url)
    advice = "others can reach it over plain http: put TLS in front of it and set MUSHU_PUBLIC_URL=https://…"
    yield Check("address", not exposed, f"{settings.base_url}" + (f"; {advice}" if exposed else ""))


def _channels(core: Core) -> Iterator[Check]:
    """What the server itself connects to; Vault, mail and Apple are refused without TLS where they are used."""
    settings, faults = core.settings, []
    if is_unverified(settings.sqlalchemy_url, os.environ):
        faults.append(
            "The database is on another machine, and whoever is in between can read it or stand in for it. Add "
            "?sslmode=verify-full&sslrootcert=/path/to/ca.pem to MUSHU_DATABASE_URL."
        )
    if settings.media_s3_bucket and leaves_in_the_clear(settings.media_s3_endpoint):
        faults.append("Media and their signed addresses go over plain http. Set MUSHU_MEDIA_S3_ENDPOINT=https://…")
    yield Check("channels", not faults, " ".join(faults) or "nothing leaves this machine unencrypted")


def _client_address(core: Core) -> Iterator[Check]:
    header, host = core.settings.client_address_header, core.settings.host
    if not header:
        detail = "that of the connection; behind a proxy, set MUSHU_CLIENT_ADDRESS_HEADER (docs/behind-a-proxy.md)"
        yield Check("client address", True, detail)
        return
    detail = f"what the header {header} says, so only the proxy may reach this server"
    advice = f"; it listens on {host}: make sure of that with a firewall, or set MUSHU_HOST"
    # Not called bad: in a container, the network around it may let only the proxy in.
    yield Check("client address", True, detail + (advice if host in _EVERYWHERE else ""))


def _connections(_: Core) -> Iterator[Check]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit != resource.RLIM_INFINITY and limit < _ENOUGH_DESCRIPTORS:
        advice = "so slow clients can keep others out. Raise it (systemd: LimitNOFILE=), or put a proxy in front"
        yield Check("connections", False, f"a process may open {limit} files here, {advice}: docs/slow-clients.md.")
    elif not STALLED_CONNECTIONS_SEEN:
        advice = "Put a proxy in front that buffers answers: docs/slow-clients.md."
        yield Check("connections", False, f"this system does not tell which downloads are not taken. {advice}")
    else:
        yield Check("connections", True, "slow ones are ended; floods must be stopped in front (docs/slow-clients.md)")


def _plugins(_: Core) -> Iterator[Check]:
    for plugin in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda plugin: plugin.name):
        try:
            plugin.load()
        except Exception as error:
            advice = f"cannot be loaded ({type(error).__name__}: {error}). Install what it needs."
            yield Check(f"destination {plugin.name}:", False, advice)
        else:
            yield Check(f"destination {plugin.name}:", True, f"served by {plugin.value.partition(':')[0]}")


def _schema(_: Core) -> Iterator[Check]:
    behind = pending_migrations()
    advice = "Run script/up, or `flask database upgrade`: both make a copy of the database first."
    yield Check("schema", not behind, f"{len(behind)} migrations are missing. {advice}" if behind else "up to date")


def _copies(core: Core) -> Iterator[Check]:
    found = list_copies(core.settings.instance_path)
    size = sum(copy.size for copy in found) // (1024 * 1024)
    where = f" in {core.settings.instance_path}, {size} MB: docs/upgrading.md" if found else ""
    yield Check("copies", True, f"{len(found)} of the database from before migrations{where}")


def _integrity(_: Core) -> Iterator[Check]:
    if db.engine.dialect.name != "sqlite":
        return
    with reading(db.session):
        answer = db.session.scalar(text("PRAGMA quick_check(1)"))
    good = answer == "ok"
    yield Check("database", good, "sound" if good else f"damaged ({answer}). Restore a backup: docs/backup.md.")


def _database_connections(core: Core) -> Iterator[Check]:
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


def _sealing(core: Core) -> Iterator[Check]:
    with reading(db.session):
        count = sum(1 for _ in sealed_values(db.session))
        broken = faults(db.session, core.sealing_keys)
    yield Check(
        "sealing", not broken, " ".join(broken[:_ENOUGH_TOLD]) or f"{count} encrypted values, all of which open"
    )


def _deliveries(core: Core) -> Iterator[Check]:
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


def _usage(_: Core) -> Iterator[Check]:
    try:
        with reading(db.session), reading_usage(db.session) as usage:
            usage.execute(select(KeyUse.key_id).limit(1)).all()
    except DatabaseUnavailable as error:
        cause = getattr(error.__cause__, "orig", None) or error
        advice = "Stop the server, move the file *-usage.sqlite3 away with its -wal and -shm, and start it"
        yield Check("usage", False, f"it cannot be read ({cause}). {advice}: counting begins anew.")
    else:
        yield Check("usage", True, "it can be read")


def _limits(core: Core) -> Iterator[Check]:
    limited = [column.is_not(None) for column in (ApiKey.limits, Organization.limits, PolicyRow.limits)]
    with reading(db.session):
        some = any(db.session.execute(select(where.left).where(where).limit(1)).all() for where in limited)
    yield Check("limits", *look_at_store(core.settings, in_use=some))


def _journal(core: Core) -> Iterator[Check]:
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


def _rotations(core: Core) -> Iterator[Check]:
    with reading(db.session):
        stalled = stalled_rotations(db.session, core.clock())
    told = " ".join(f"{found.key_id} ({found.key_name}): {found.detail}" for found in stalled)
    yield Check("rotations", not stalled, told or "none has stalled")


def _media(core: Core) -> Iterator[Check]:
    try:
        yield Check("media", True, core.media.storage.check())
    except (ConfigurationError, StorageUnavailable) as error:
        yield Check("media", False, error.detail)


LOOKS: Final = (
    _permissions, _disk, _address, _client_address, _connections, _channels, _plugins, _schema, _copies, _integrity,
    _database_connections,    _sealing, _deliveries, _usage, _limits, _journal, _rotations, _media,
)  # fmt: skip
#: What reads all of a database, or asks another machine.
_SLOW: Final = (_integrity, _sealing, _media)
