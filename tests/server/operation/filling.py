"""Fills every table of a database with rows that its constraints take, whatever tables there are."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import JSON, Boolean, Column, Connection, DateTime, Integer, String, Table, insert

#: What a column with a rule takes.
_TAKEN: Final = {
    "at_deadline": "keep",
    "environment": "live",
    "scope": "read",
    "state": "active",
    "status": "pending",
    "role": "member",
}
_START: Final = datetime(2026, 1, 15, 10, 30, 0, 123_456, UTC)
#: In an order that a collation of people's would change.
_LETTERS: Final = ("B", "a", "_", "é", "Z", "ä", "0", "'", "\\")


def fill(connection: Connection, tables: list[Table], count: int) -> None:
    """Add rows; where one refers to another, to each of these in turn."""
    made: dict[Table, list[dict[str, Any]]] = {}
    for table in tables:
        made[table] = [
            {column.name: _value(column, number, made) for column in table.columns} for number in range(count)
        ]
        connection.execute(insert(table), made[table])


def _value(column: Column[Any], number: int, made: dict[Table, list[dict[str, Any]]]) -> Any:
    for key in column.foreign_keys:
        rows = made[key.column.table]
        return rows[number % len(rows)][key.column.name]
    if column.nullable and number % 2:
        return None
    if column.name in _TAKEN and isinstance(column.type, String):
        return _TAKEN[column.name]
    match column.type:
        case Boolean():
            return False
        case JSON():
            return {"z": [number, None, "ä"], "a": {"b": 1.5}}
        case Integer():
            return number + 1
        case String(length=length):
            return f"{_LETTERS[number % len(_LETTERS)]}{number}"[: length or 100]
        case _:
            assert isinstance(getattr(column.type, "impl", column.type), DateTime)
            return _START + timedelta(hours=number)
