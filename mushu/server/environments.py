"""Test is test: the one filter that keeps rows of `live` and `test` apart, and the one place where it is applied.

A session works in one environment at a time. Whatever it reads, changes or deletes of an `Environmental` table is of
that environment only, whether a query says so or not; whatever it adds is of it, too. A session that was not told in
which environment it works touches none of these tables: it fails. So does a statement that the filter cannot reach
into: one that names a table instead of its class, one in plain SQL, one that inserts, or changes by primary key.

Not guarded: a connection or an engine without a session, and the session's `bulk_…` methods. No service uses them.

    set_environment(session, Environment.TEST)    # what a request does, once, before anything else
    with within(session, environment): …          # what everybody else does

Reads that no session is worth being made for are prepared, once, and `prepare` adds the condition:

    LIVING = prepare(select(TenantRow.id).where(TenantRow.org_id == bindparam("org_id")))
    LIVING.rows(reader, {"org_id": org_id})       # of the environment of the reader, or of a session
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, cast

from sqlalchemy import (
    ClauseElement,
    Column,
    Insert,
    Integer,
    Join,
    Select,
    SelectBase,
    String,
    Table,
    TextClause,
    UpdateBase,
    bindparam,
    event,
)
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, UOWTransaction, mapped_column, with_loader_criteria
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import AliasedReturnsRows

from mushu.environment import Environment
from mushu.server.compiled import CompiledSelect
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession, UTCDateTime
from mushu.server.read_connections import ReadConnections

_ENVIRONMENT: Final = "mushu_environment"
#: Names of the tables whose classes are `Environmental`.
_TABLES: Final[set[str]] = set()
_WORD: Final = re.compile(r"\w+")


class Environmental:
    """Mixed into a table whose every row is of one environment."""

    environment: Mapped[str] = mapped_column(String(8))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _TABLES.add(getattr(cls, "__tablename__", ""))


class NoEnvironment(LookupError):
    """Rows that belong to an environment were asked for by a session that works in none, or in another one."""


def set_environment(session: AnySession, environment: Environment) -> None:
    """Have the session work in `environment` for the rest of its life, or until it is told otherwise."""
    if session.info.get(_ENVIRONMENT) not in (None, environment):
        _forget(session)
    session.info[_ENVIRONMENT] = environment


def environment_of(session: AnySession) -> Environment:
    """Return the environment in which the session works.

    Raises:
        NoEnvironment: in none.
    """
    found: Environment | None = session.info.get(_ENVIRONMENT)
    if found is None:
        raise NoEnvironment("this session was not told in which environment it works")
    return found


@contextmanager
def within(session: AnySession, environment: Environment) -> Iterator[None]:
    """Have the session work in `environment` for a while."""
    before = session.info.get(_ENVIRONMENT)
    set_environment(session, environment)
    try:
        yield
    finally:
        if before is not environment:
            _forget(session)
        session.info[_ENVIRONMENT] = before


def _forget(session: AnySession) -> None:
    """Write what was changed in the environment that is left, and remember no row of it."""
    rows = [row for row in (*session, *session.deleted) if isinstance(row, Environmental)]
    if any(row in session.new or row in session.deleted or session.is_modified(row) for row in rows):
        session.flush()
    for row in rows:
        if row in session:
            session.expunge(row)


@event.listens_for(Session, "do_orm_execute")
def _filter(state: ORMExecuteState) -> None:
    if state.execution_options.get(IN_ALL_ENVIRONMENTS):
        return
    elements = list(visitors.iterate(cast(ClauseElement, state.statement)))
    if not any(_is_of(element) or _is_text_about(element) for element in elements):
        return
    environment = environment_of(state.session)
    for element in elements:
        if _passes_by(element) or (isinstance(element, UpdateBase) and _moves_rows(state, element)):
            raise NoEnvironment("the filter cannot reach into this statement: name classes, and add rows one by one")
    state.statement = state.statement.options(_only(environment))


@event.listens_for(Session, "before_flush")
def _mark(session: Session, _context: UOWTransaction, _instances: object) -> None:
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, Environmental):
            environment = environment_of(session)
            if row.environment is None:
                row.environment = environment
            elif row.environment != environment:
                raise NoEnvironment(f"a row of {row.environment} is changed by a session that works in {environment}")


def _only(environment: Environment) -> Any:
    wanted = environment.value
    return with_loader_criteria(Environmental, lambda cls: cls.environment == wanted, include_aliases=True)


def _passes_by(element: object) -> bool:
    """Tell whether this part of a statement reads or changes one of the tables where no criterion is added to it.

    A criterion is added where a class is named. Beside it, its table may be named, too, as SQLAlchemy itself does.
    """
    if not isinstance(element, Select | UpdateBase):
        return _is_text_about(element)
    bare: set[Any] = set()
    guarded: set[Any] = set()
    for part in _parts(element):
        for found in visitors.iterate(part):
            source = found.table if isinstance(found, Column) else found
            if _is_of(source):
                is_class = "parententity" in found._annotations  # noqa: SLF001 - there is no public word for it
                (guarded if is_class else bare).add(source)
    return bool(bare - guarded)


def _parts(statement: Select[Any] | UpdateBase) -> Iterator[Any]:
    """Yield what a statement was told to read, and under which conditions, before anything was made of it."""
    told: Any = statement  # SQLAlchemy has no public words for these
    if isinstance(statement, Select):
        yield from (*told._raw_columns, *told._from_obj)  # noqa: SLF001
        for target, condition, *_ in told._setup_joins:  # noqa: SLF001
            yield from (part for part in (target, condition) if part is not None)
    else:
        yield told.table
    yield from getattr(told, "_where_criteria", ())


def _moves_rows(state: ORMExecuteState, change: UpdateBase) -> bool:
    """Tell whether rows come from elsewhere, are named by primary key, or would go to the other environment."""
    if not _is_of(change.table):
        return False
    if isinstance(change, Insert) or isinstance(state.parameters, list):
        return True
    values = getattr(change, "_values", None) or {}
    return any(getattr(column, "key", column) == "environment" for column in values)


def _is_text_about(element: object) -> bool:
    return isinstance(element, TextClause) and not _TABLES.isdisjoint(_WORD.findall(element.text))


def _is_of(element: Any) -> bool:
    while isinstance(element, AliasedReturnsRows):
        element = element.element
    return isinstance(element, Table) and element.name in _TABLES


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what is committed, in one environment, and is part of no transaction."""

    connections: ReadConnections
    environment: Environment


#: What a read can be asked of: a session is for what is part of a transaction.
Source: TypeAlias = AnySession | Reader


class MomentParameters:
    """Names of moments that a statement compares with, by how much later they are than the one at which it is asked."""

    def __init__(self) -> None:
        self._later: dict[str, timedelta] = {}
        #: The parameter that stands for the seconds since 1970.
        self.seconds = bindparam("seconds", type_=Integer)

    @property
    def now(self) -> Any:
        """The parameter that stands for the moment itself."""
        return self.at(timedelta())

    def at(self, later: timedelta) -> Any:
        """Return the parameter that stands for a moment."""
        name = f"at_{int(later.total_seconds())}".replace("-", "before_")
        self._later[name] = later
        return bindparam(name, type_=UTCDateTime)

    def values(self, now: datetime) -> dict[str, Any]:
        """Return what the parameters are at a moment."""
        return {"seconds": int(now.timestamp()), **{name: now + later for name, later in self._later.items()}}


class Prepared:
    """A SELECT that is compiled once; `prepare` makes it.

    Args:
        query: for sessions, whose own filter adds the environment.
        filtered: the same, with the environment as a parameter.
        make: makes a row of its values.
    """

    def __init__(
        self,
        query: Select[*tuple[Any, ...]],
        filtered: Select[*tuple[Any, ...]],
        make: Callable[..., Any] | None,
    ) -> None:
        self._query = query
        self._filtered = filtered
        self._make = make
        self._compiled: dict[str, CompiledSelect] = {}

    def rows(self, source: Source, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return what is found with these values of its parameters; a row has an attribute for each column."""
        if not isinstance(source, Reader):
            found = source.execute(self._query, values).all()
            return found if self._make is None else [self._make(*row) for row in found]
        dialect = source.connections.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = CompiledSelect(self._filtered, dialect, self._make)
        statement, given = compiled.asked({_ENVIRONMENT: source.environment.value, **values})
        return source.connections.fetch(statement, given, compiled.rows)


def prepare(query: Select[*tuple[Any, ...]], make: Callable[..., Any] | None = None) -> Prepared:
    """Return a read that is compiled once, with the environment in its condition; there is no other way to have one.

    Args:
        make: makes a row of the values of its columns, in their order; None: a row has an attribute for each.

    Raises:
        NoEnvironment: it is about a table that has an environment, and is more than one SELECT of classes that are
            joined plainly: the condition might not reach all of it.
    """
    elements = list(visitors.iterate(query))
    named: set[Any] = {element for element in elements if _is_of(element)}
    if named or any(_is_text_about(element) for element in elements):
        nested = any(isinstance(element, SelectBase | TextClause) for element in elements if element is not query)
        plain = {table for source in query.get_final_froms() for table in _joined(source)}
        if nested or not named <= plain:
            raise NoEnvironment("the condition may not reach all of this: use one SELECT, and join classes plainly")
    filtered = query
    for table in sorted(named, key=str):
        filtered = filtered.where(table.c.environment == bindparam(_ENVIRONMENT, type_=String))
    return Prepared(query, filtered, make)


def _joined(source: Any) -> Iterator[Any]:
    """Yield the tables of which none may be missing in a row."""
    if isinstance(source, Join):
        if not (source.isouter or source.full):
            yield from (*_joined(source.left), *_joined(source.right))
    else:
        yield source
