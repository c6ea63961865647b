"""The database: base class, naming convention, types, and how a transaction begins.

Sessions here never begin by themselves (`autobegin=False`): whoever owns a transaction writes

    with writing(session):    # commits at the end, rolls back on an exception
    with finishing(session):  # the same, for what follows from an act that was permitted
    with reading(session):    # takes no write lock

and a service called outside of one fails at once instead of holding a lock for as long as nobody notices.

A session that acts for somebody carries the proof that they may (`act_for`). `writing` asks for it again inside its own
transaction, so that no permission ends between its check and its use.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import DateTime, Dialect, Engine, MetaData, event, func, make_url, select
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session
from sqlalchemy.types import TypeDecorator

from mushu.address import is_loopback_host
from mushu.server import postgresql_waits
from mushu.server.clock import read_moment
from mushu.server.sqlite_writes import ROUND, WriteTurns, begin_to_write, turn_to_write

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

#: Milliseconds that SQLite waits for another writer, and PostgreSQL for a lock, before it gives up.
BUSY_TIMEOUT: Final = 15_000
#: Connections that a pool keeps, and as many again for reads of their own; it opens as many more as there are threads.
#: With PostgreSQL, where opening takes as long as many requests, the pool keeps twice as many of these.
POOL_SIZE: Final = 5
#: Seconds that a thread waits for a connection of the pool.
_POOL_SECONDS: Final = 10
#: When a PostgreSQL server that does not answer is given up: seconds, but for the last one (libpq's parameters).
_REACHABLE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "tcp_user_timeout": 30_000,
}
#: What libpq calls it when a server must prove who it is.
_VERIFIED: Final = ("verify-ca", "verify-full")
#: Execution option of a connection whose transaction only reads: it takes no write lock.
READ_ONLY: Final = "mushu_read_only"
_BEFORE_COMMIT: Final = "mushu_before_commit"
_JOURNAL: Final = "mushu_journal"
_PROOF: Final = "mushu_proof"
_TURNS: Final = "mushu_turns"

#: Execution option of the few statements that are about live and test alike, such as sealing anew what is sealed.
IN_ALL_ENVIRONMENTS: Final = "mushu_in_all_environments"

SESSION_OPTIONS: Final[dict[str, Any]] = {"autobegin": False, "expire_on_commit": False}

AnySession: TypeAlias = Session | scoped_session[Any]

#: Raises an error of the tree where the one for whom a session acts may not do so, or no longer. It holds what it
#: looked at (`holds_rows`) until the transaction ends.
Proof: TypeAlias = Callable[[AnySession], None]


class Base(DeclarativeBase):
    """What every table derives from. Constraints have names, so that migrations can speak of them on any database.

    A partial index is declared with `sqlite_where`, and `prepare_engine` has it so on PostgreSQL, too.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, aware and in UTC on both sides; a naive one is a mistake of the caller and refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; use one in UTC")
        return value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        return read_moment


def own_session(engine: Engine) -> Session:
    """Return a session for work that is part of no request and no command; the caller closes it."""
    return Session(engine, autobegin=False, expire_on_commit=False)


def act_for(session: AnySession, proof: Proof | None) -> None:
    """Have `writing` ask for this proof first, for as long as the session lives; None: it acts for nobody."""
    session.info[_PROOF] = proof


@contextmanager
def writing(session: AnySession) -> Iterator[None]:
    """Own one transaction that may write; what the session's proof raises ends it before anything is done."""
    with finishing(session):
        proof: Proof | None = session.info.get(_PROOF)
        if proof is not None:
            proof(session)
        yield


@contextmanager
def finishing(session: AnySession) -> Iterator[None]:
    """Own one transaction that records the result of an act, or cleans up; no proof is asked for.

    It is for what must be done once an act was permitted and has begun, whoever has lost which permission since.
    """
    session.info[_BEFORE_COMMIT] = {}
    turns = session.get_bind().get_execution_options().get(_TURNS)
    with turn_to_write(turns, BUSY_TIMEOUT / 1_000), session.begin():
        yield
        for act, items in session.info[_BEFORE_COMMIT].items():
            act(session, items)


def before_commit(session: AnySession, act: Callable[[AnySession, list[str]], None], item: str) -> None:
    """Have `act` done at the end of the caller's transaction, if it comes that far, with all items that are given."""
    session.info[_BEFORE_COMMIT].setdefault(act, []).append(item)


@contextmanager
def reading(session: AnySession) -> Iterator[None]:
    """Own one transaction that only reads, and so never waits for a writer."""
    with session.begin():
        session.connection(execution_options={READ_ONLY: True})
        yield


def _begin_to_write(connection: Any) -> None:
    driver_connection = connection.connection.driver_connection
    driver_connection.execute(f"PRAGMA busy_timeout={ROUND}")
    try:
        begin_to_write(connection.exec_driver_sql, BUSY_TIMEOUT / 1_000)
    finally:
        driver_connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")


def holds_rows(session: AnySession) -> bool:
    """Tell whether rows are locked one by one; on SQLite a transaction that may write locks the whole database."""
    return session.get_bind().dialect.name != "sqlite"


def hold_name(session: AnySession, name: str) -> None:
    """Have others who hold this name wait until this transaction ends; on SQLite all who write wait for each other."""
    if holds_rows(session):
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def insert_into(session: AnySession, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """Return an INSERT that can say what is to happen where the row is there already."""
    # Loaded where it is used: that of PostgreSQL takes a tenth of what a command on SQLite takes to start.
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def journal_path(session: AnySession) -> Path | None:
    """Return the journal of revoked keys beside the database of this session; None where there is none."""
    found: Path | None = session.get_bind().get_execution_options().get(_JOURNAL)
    return found


def engine_options(url: str, threads: int) -> dict[str, Any]:
    """Return how to make an engine that waits for nothing without an end; what the URL itself says is kept.

    Args:
        threads: those that ask at once; none of them waits for a connection, because the others may hold theirs long.
    """
    parsed = make_url(url)
    options: dict[str, Any] = {"hide_parameters": True}  # an error that is logged would show password hashes
    if parsed.database not in (None, "", ":memory:"):
        options |= {"pool_size": POOL_SIZE, "max_overflow": threads, "pool_timeout": _POOL_SECONDS}
    if parsed.get_backend_name() == "postgresql":
        options["pool_pre_ping"] = True
        kept = min(2 * POOL_SIZE, threads)
        options |= {"pool_size": kept, "max_overflow": threads + POOL_SIZE - kept}
        options["connect_args"] = {name: value for name, value in _REACHABLE.items() if name not in parsed.query}
    return options


def most_connections(threads: int) -> int:
    """Return how many connections one process of so many threads opens at most: one a thread, and what is kept."""
    return threads + 2 * POOL_SIZE


def is_unverified(database_url: str, environ: Mapping[str, str]) -> bool:
    """Tell whether a database is on another machine, and its certificate is not verified, or there is no TLS at all.

    Args:
        environ: libpq's own variables count where the URL says nothing.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        return False
    named = url.query.get("host") or url.host or environ.get("PGHOST", "")
    hosts = [host for part in ([named] if isinstance(named, str) else named) for host in part.split(",")]
    distant = [host for host in hosts if host and not host.startswith(("/", "@")) and not is_loopback_host(host)]
    return bool(distant) and url.query.get("sslmode", environ.get("PGSSLMODE")) not in _VERIFIED


def prepare_engine(engine: Engine, journal: Path | None = None) -> None:
    """Teach an engine Mushu's rules; must be called once for each engine, before its first connection.

    Args:
        journal: the file that tells of revoked keys (`keys/revocation_journal.py`).
    """
    engine.update_execution_options(**{_JOURNAL: journal})
    if engine.dialect.name != "sqlite":
        for index in (index for table in Base.metadata.tables.values() for index in table.indexes):
            # Not where the index is declared: to name PostgreSQL there loads all of its dialect, on SQLite, too.
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
        event.listen(engine, "do_connect", postgresql_waits.connect)

        @event.listens_for(engine, "connect")
        def bound_waits(connection: Any, _record: object) -> None:
            connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT}")
            connection.commit()

        return
    engine.update_execution_options(**{_TURNS: WriteTurns()})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 must not begin transactions on its own.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # A key that was delivered must be on disk, also after a power cut.
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A deferred transaction that reads first and then writes fails as "database is locked" whatever the timeout.
        if connection.get_execution_options().get(READ_ONLY):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_to_write(connection)
