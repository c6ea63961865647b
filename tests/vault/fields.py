"""The fields that an endpoint takes; what it does not know it ignores."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.vault.answers import Refused
from tests.vault.calls import Call
from tests.vault.values import Unreadable

FAILED = "Field validation failed: "
Reader = Callable[[Any], Any]


class Fields:
    """The fields of one call, read by their types."""

    def __init__(self, call: Call, schema: Mapping[str, Reader], complaint: str = FAILED) -> None:
        """Raises: Refused, if a field does not hold what its type wants."""
        self._read: dict[str, Any] = {}
        for name, value in call.fields.items():
            if name in schema:
                try:
                    self._read[name] = schema[name](value)
                except Unreadable as unreadable:
                    problem = f'error converting input for field "{name}": {unreadable}'
                    raise Refused(400, complaint + problem) from None

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def get(self, name: str, otherwise: Any = None) -> Any:
        return self._read.get(name, otherwise)
