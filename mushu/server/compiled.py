"""A SELECT in the words of one database: compiled once, asked often, with values and rows in the types of its columns.

A parameter may stand for a list, as in `column.in_(bindparam("ids", expanding=True))`. Few lengths are compiled: a list
is filled up to the next one by repeating its last value, which finds nothing more.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Dialect, Select

#: The lengths of lists that are compiled, such as that of a page; after them, the multiples of the last.
_LENGTHS: Final = (1, 5, 10, 20, 50, 100, 500)
#: Rows that are read column by column; fewer are read one by one, which is faster for them.
_SOME: Final = 4


def as_read(*values: Any) -> tuple[Any, ...]:
    """Make nothing of a row: for very many of few columns."""
    return values


class CompiledSelect:
    """A SELECT for one database.

    Args:
        make: makes a row of its values; None: a row has an attribute for each column.
    """

    def __init__(self, query: Select[*tuple[Any, ...]], dialect: Dialect, make: Callable[..., Any] | None) -> None:
        self._dialect = dialect
        self._compiled = query.compile(dialect=dialect)
        required = [bind for bind in self._compiled.binds.values() if bind.required]
        self._lists = [bind.key for bind in required if bind.expanding]
        self._unknown: dict[str, Any] = {bind.key: None for bind in required}
        self._of_lengths: dict[tuple[int, ...], _OfLengths] = {}
        columns = query.column_descriptions
        row: Any = namedtuple("row", [column["name"] for column in columns], rename=True)  # type: ignore[misc]  # noqa: PYI024
        self._make: Callable[..., Any] = row if make is None else make
        self._of_values: Callable[[Sequence[Any]], Any] = row._make if make is None else partial(_spread, make)
        processors = [column["type"].dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._from_driver: list[tuple[int, Callable[[Any], Any]]] = [
            (place, processor) for place, processor in enumerate(processors) if processor is not None
        ]

    def asked(self, values: Mapping[str, Any]) -> tuple[str, Any]:
        """Return the statement for these values, and the values as the driver takes them."""
        lengths = tuple([_length_for(len(values[name])) for name in self._lists]) if self._lists else ()
        found = self._of_lengths.get(lengths)
        if found is None:
            lists = {name: [None] * length for name, length in zip(self._lists, lengths, strict=True)}
            found = self._of_lengths[lengths] = _OfLengths(self._compiled, self._dialect, self._unknown | lists)
        return found.statement, found.bound(values)

    def rows(self, found: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Return rows as a session would, each made by `make`."""
        if self._make is as_read and not self._from_driver:
            return found
        if len(found) < _SOME:
            made = []
            for row in found:
                values = list(row)
                for place, from_driver in self._from_driver:
                    values[place] = from_driver(values[place])
                made.append(self._of_values(values))
            return made
        columns: list[Iterable[Any]] = [*zip(*found, strict=True)]  # each type is asked without a loop
        for place, from_driver in self._from_driver:
            columns[place] = map(from_driver, columns[place])
        return [*map(self._make, *columns)]


class _OfLengths:
    """The statement whose lists are so long."""

    def __init__(self, compiled: Any, dialect: Dialect, values: Mapping[str, Any]) -> None:
        expanded = compiled.construct_expanded_state(values)
        self.statement: str = expanded.statement
        self._in_order: Sequence[str] | None = expanded.positiontup
        #: The names of the places that each list fills.
        self._places: dict[str, Sequence[str]] = {
            name: places for name, places in expanded.parameter_expansion.items() if name in values
        }
        asked_for = {*values, *(place for places in self._places.values() for place in places)}
        self._fixed = {name: value for name, value in expanded.parameters.items() if name not in asked_for}
        self._to_driver: list[tuple[str, Callable[[Any], Any]]] = []
        for bind, name in compiled.bind_names.items():
            to_driver = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if to_driver is not None:
                self._to_driver += [(place, to_driver) for place in expanded.parameter_expansion.get(name, [name])]

    def bound(self, values: Mapping[str, Any]) -> Any:
        given = {**self._fixed, **values}
        if self._places:
            for name, places in self._places.items():
                some = given.pop(name)
                last = some[-1] if some else None  # equal to nothing
                given |= dict.fromkeys(places[len(some) :], last) | dict(zip(places, some, strict=False))
        for name, to_driver in self._to_driver:
            given[name] = to_driver(given[name])
        return given if self._in_order is None else [given[name] for name in self._in_order]


def _spread(make: Callable[..., Any], values: Sequence[Any]) -> Any:
    return make(*values)


def _length_for(length: int) -> int:
    found = next((one for one in _LENGTHS if one >= length), None)
    return found if found is not None else -(-length // _LENGTHS[-1]) * _LENGTHS[-1]
