"""What the database is asked, for tests that count statements or look what is in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event


@contextmanager
def statements(engine: Engine | type[Engine]) -> Iterator[list[str]]:
    """Provide the statements that an engine is asked meanwhile; `Engine` itself stands for all engines."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
