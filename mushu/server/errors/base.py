"""What every error has."""

from typing import ClassVar


class MushuError(Exception):
    """An answer that is not a success; `str()` of it is the sentence for a person.

    Args:
        detail: the sentence.
        field: the name of the argument that is at fault, where one is.
        key_id: the API key that it is about, where it is about one that the caller may see.
        retry_after: seconds after which asking again is worth it, where that is known.
    """

    #: A value is in the way that an operator may have overwritten. Who answers the caller says what that means there:
    #: `commands/hints.py`, `web/problems.py`.
    overwritable: bool = False
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self, detail: str, *, field: str | None = None, key_id: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.key_id = key_id
        self.retry_after = retry_after
