"""A list that the server hands out page by page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mushu.cli.answers import Answer, rows_of
from mushu.cli.faults import misunderstood

if TYPE_CHECKING:
    from mushu.cli.api import Api

#: As many as the server puts on one page.
_PAGE: Final = "500"


def rows_at(api: "Api", path: tuple[str, ...], field: str, query: dict[str, str]) -> Iterator[Answer]:
    """Yield the rows of all pages of the list that stands at a path.

    Args:
        field: the name of the list in the answer.

    Raises:
        WrongAnswer: it is no list, or it has no end.
    """
    seen: set[str] = set()
    cursor = None
    while True:
        page = api.get(*path, **query, limit=_PAGE, **({"cursor": cursor} if cursor else {}))
        yield from rows_of(page, field)
        cursor = page.get("next_cursor")
        if cursor is None:
            return
        if not isinstance(cursor, str) or cursor in seen:  # a list that leads back to itself never ends
            raise misunderstood("its pages do not end")
        seen.add(cursor)
