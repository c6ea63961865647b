"""Asking twice, getting one: what a request with an `Idempotency-Key` made is found again by the next one with it.

The answer to a repeated request is made anew from what was made then, so that nothing of an answer has to be kept: it
may hold what must not be in a database, such as a signed address.

`web/api/models.py` reads the header, and `lifecycle/repeated_request.py` answers for keys.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, String, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import AnySession
from mushu.server.errors import IdempotencyMismatch, Invalid

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Idempotent:
    """Mixed into a table of things that a request with an `Idempotency-Key` makes."""

    #: Digest of the organization, the environment and the key; None where there was no key.
    request_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: Digest of what was asked for.
    request_digest: Mapped[str | None] = mapped_column(String(64))

    def mark(self, idempotency: "IdempotencyMark | None") -> None:
        """Have the row be found again by a request with the same mark."""
        if idempotency is not None:
            self.request_key, self.request_digest = idempotency.request_key, idempotency.request_digest


@dataclass(frozen=True, slots=True)
class IdempotencyMark:
    """The mark of a request that is done once however often it is sent: its key, and what it asks for."""

    request_key: str
    request_digest: str

    @classmethod
    def of(cls, key: str, scope: tuple[str, ...], asked: Mapping[str, Any]) -> Self:
        """Return the mark of a request.

        Args:
            key: the value of the header.
            scope: within which the key must be one of its kind: organization, environment, the operation.
            asked: the parameters and the body.

        Raises:
            Invalid: the key is not 1 to 255 visible ASCII characters.
        """
        if not _KEY.fullmatch(key):
            raise Invalid("An Idempotency-Key has 1 to 255 visible ASCII characters.", field="Idempotency-Key")
        return cls(_digest([*scope, key]), _digest(asked))


Made = TypeVar("Made", bound=Idempotent)


def find_made(
    session: AnySession, kind: type[Made], idempotency: IdempotencyMark | None, *which: ColumnElement[bool]
) -> Made | None:
    """Return what a request with this key has made, as it is now, or None.

    Args:
        which: what it has to be like; anything else counts as not made.

    Raises:
        IdempotencyMismatch: it asked for something else.
    """
    if idempotency is None:
        return None
    query = select(kind).where(kind.request_key == idempotency.request_key, *which)
    made = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if made is not None and made.request_digest != idempotency.request_digest:
        raise IdempotencyMismatch(
            "This Idempotency-Key was used for another request. Use a new one for each thing that is to be done once.",
            field="Idempotency-Key",
        )
    return made


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
