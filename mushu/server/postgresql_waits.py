"""How long a server waits for an answer of PostgreSQL.

A database whose processes are frozen, or whose disk is, says nothing. Its kernel goes on acknowledging what is sent.
Neither libpq nor TCP ends such a wait, and a gate that waits is no gate. A command may take as long as it takes.
"""

import logging
from functools import cache
from typing import Any, Final

_LOG: Final = logging.getLogger(__name__)
#: Seconds; more than a lock is waited for (`db.BUSY_TIMEOUT`).
SECONDS: Final = 20.0
#: Seconds after which psycopg looks whether Python has a signal to handle, as it has it.
_INTERVAL: Final = 0.1
#: The attribute of an error that tells that there was no answer: to ask again would take as long again.
NO_ANSWER: Final = "has_no_answer"


class Waits:
    """Those of this process."""

    #: None: without an end.
    seconds: float | None = None


def bound_waits() -> None:
    """Have each wait of this process end from now on."""
    Waits.seconds = SECONDS


def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect with psycopg: what SQLAlchemy calls instead of its own."""
    return _connection_class().connect(*arguments, **options)


@cache
def _connection_class() -> Any:
    # Loaded where it is used: without PostgreSQL it need not be installed.
    from psycopg import Connection, errors

    expired: Any = getattr(errors, "_WaitTimeout", None)
    if expired is None:
        _LOG.warning("this psycopg is not known: a PostgreSQL that does not answer is waited for without an end")
        return Connection

    class BoundedConnection(Connection[Any]):
        """One that is closed where an answer does not come in time."""

        def wait(self, gen: Any, interval: float = _INTERVAL, timeout: float | None = None) -> Any:
            given = timeout is not None
            try:
                return super().wait(gen, interval, timeout=timeout if given else Waits.seconds)
            except expired as error:
                if not given:  # it is nobody else's to handle
                    self.close()
                    setattr(error, NO_ANSWER, True)
                raise

    return BoundedConnection
