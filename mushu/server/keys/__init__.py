"""API keys as rows and rules: minted, named, in one state at a time, succeeded by another, deleted for good.

Nothing here commits, delivers a key or knows who asks: a key is checked by `gate/`, delivered by `delivery/`, and every
verb of it is in `lifecycle/`. The scopes, which say what a key permits, are here. Read on in `minting.py`,
`states.py`, `rotation.py`, `service.py` and `revocation_journal.py`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from mushu.server.errors import Invalid


class Scope(StrEnum):
    """What a credential permits. Independent of each other: none implies another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


DEFAULT_SCOPES: Final = (Scope.READ, Scope.WRITE)
_KNOWN: Final = ", ".join(Scope)


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes that `names` name, always in the order read, write, admin.

    Raises:
        Invalid: none, an unknown one, or one named twice.
    """
    given = list(names)
    if not given:
        raise Invalid(f"A key needs at least one scope of {_KNOWN}.", field="scopes")
    for name in given:
        if name not in tuple(Scope):
            raise Invalid(f"A scope must be one of {_KNOWN}.", field="scopes")
        if given.count(name) > 1:
            raise Invalid(f"The scope {name} is named more than once.", field="scopes")
    return tuple(scope for scope in Scope if scope in given)
