"""What is wrong with the fields of a request, in our own words: Pydantic's may quote the input, which may be secret."""

import re
from typing import Final

from pydantic import BaseModel, ValidationError

_A_MOMENT: Final = "must be a date and time such as 2027-01-15T10:30:00Z"
_WORDS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "datetime_type": _A_MOMENT,
    "datetime_parsing": _A_MOMENT,
    "datetime_from_date_parsing": _A_MOMENT,
    "timezone_aware": "must name its time zone, as in 2027-01-15T10:30:00Z",
    "string_too_long": "is too long",
    "too_long": "has too many items",
}
# The name of an unknown field is input, too: one that looks like a slip of the pen is named, anything else is not.
_NAME: Final = re.compile(r"[a-z_]{1,40}(?:\.[0-9]+)?")
_NAMELESS: Final = "a field"


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


def faults_of(error: ValidationError) -> list[FieldError]:
    """Say which fields are wrong and how, and repeat nothing of what was sent in them."""
    return [
        FieldError(field=_name(fault["loc"]), message=_WORDS.get(fault["type"], "is not valid"))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _name(location: tuple[int | str, ...]) -> str:
    name = ".".join(str(part) for part in location)
    return name if _NAME.fullmatch(name) else _NAMELESS
