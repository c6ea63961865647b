"""Connections for reads that are no part of a transaction, as those of the gate and of lists."""

from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from mushu.server.db import POOL_SIZE
from mushu.server.postgresql_waits import NO_ANSWER

#: Seconds that a thread waits for a connection, before it opens one more.
_PATIENCE: Final = 0.02


class ReadConnections:
    """Connections of one process for reads that are no part of a transaction: each sees all that is committed by then.

    SQLAlchemy opens them and stays out of the way: `environments.prepare` compiles what is asked, once. A thread has
    one for the time of a statement, and none of a session meanwhile. A few are kept; where all are in use, a thread
    waits for one, because to open another takes longer than most reads.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect = engine.dialect
        self._idle: deque[Any] = deque()  # its two ends are safe between threads
        #: One for each connection that is kept, and not in use.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(POOL_SIZE):
            self._free.put(None)
        event.listen(engine, "engine_disposed", lambda _: self._close_idle())

    def fetch(self, statement: str, values: Any, make: Callable[[Any], Sequence[Any]] = list) -> Sequence[Any]:
        """Return what `make` makes of all rows that a statement finds.

        Raises:
            DBAPIError: what the driver raises, as an engine would; one that was closed while idle is replaced.
        """
        try:
            self._free.get(timeout=_PATIENCE)
        except Empty:  # the others take long
            return self._fetch(statement, values, make)
        try:
            return self._fetch(statement, values, make)
        finally:
            self._free.put(None)

    def _fetch(self, statement: str, values: Any, make: Callable[[Any], Sequence[Any]]) -> Sequence[Any]:
        driver: Any = self.dialect.loaded_dbapi
        while True:
            connection, place = None, self._idle
            try:
                idle = len(place) > 0
                connection = self._take()
                found: Sequence[Any] = connection.execute(statement, values).fetchall()  # to its end, always
            except driver.Error as error:
                gone = connection is not None and self.dialect.is_disconnect(error, connection, None)
                if connection is not None:
                    connection.close()
                if not (gone and idle) or hasattr(error, NO_ANSWER):
                    raise DBAPIError.instance(
                        statement, None, error, driver.Error, hide_parameters=True, dialect=self.dialect
                    ) from error
            else:
                if place is self._idle and len(place) < POOL_SIZE:
                    place.append(connection)
                else:  # also where the engine was disposed meanwhile: its database may be another one now
                    connection.close()
                return make(found)

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _open(self) -> Any:
        opened = self.engine.raw_connection()
        connection: Any = opened.driver_connection
        opened.detach()
        self.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        return connection

    def _close_idle(self) -> None:
        closed, self._idle = self._idle, deque()
        while closed:
            closed.pop().close()
