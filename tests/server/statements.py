"""What the database is asked, for tests that count statements or look what is in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from mushu.server.read_connections import ReadConnections


@contextmanager
def statements(engine: Engine | type[Engine]) -> Iterator[list[str]]:
    """Provide the statements that an engine is asked meanwhile, and its connections for reads.

    `Engine` itself stands for all engines.
    """
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        found.append(statement)

    def fetch(connections: ReadConnections, statement: str, *rest: Any) -> Any:
        if engine in (Engine, connections.engine):
            found.append(statement)
        return asked(connections, statement, *rest)

    asked = ReadConnections.fetch
    event.listen(engine, "before_cursor_execute", note)
    try:
        with patch.object(ReadConnections, "fetch", fetch):
            yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
