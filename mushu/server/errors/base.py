"""What every error has."""

from typing import ClassVar


class MushuError(Exception):
    """An answer that is not a success; `str()` of it is the sentence for a person.

    Args:
        detail: the sentence.
        field: the name of the argument that is at fault, where one is.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
