"""Whose credential it is, with what other services are told of them.

What follows from the stored rows alone is remembered until the next commit (`gate/cache.py`). What ends with time is
decided for each request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from mushu.server.environments import Reader
from mushu.server.gate import Principal, UserPrincipal
from mushu.server.gate.cache import derived
from mushu.server.gate.credential import Credential
from mushu.server.gate.principal import prove, read_row
from mushu.server.keys.states import State

#: Stands for what was not sent; no header holds it.
_NOT_SENT: Final = "\0"


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal, with what other services are told of it."""

    principal: Principal
    #: The name of the API key; None for a CLI token.
    name: str | None
    state: str
    issued_at: datetime
    #: The moment from which on it proves nothing; None: it has no end.
    until: datetime | None


def identify(source: Reader, now: datetime, credential: Credential) -> Identity:
    """Return whose credential this is.

    Raises:
        Unauthenticated: one of its kinds.
    """
    row = read_row(source, credential)
    principal = prove(row, now, is_key=credential.is_key)
    stored: Any = row
    if isinstance(principal, UserPrincipal):
        return Identity(principal, None, State.ACTIVE, stored.issued_at, stored.expires_at)
    ends = [moment for moment in (stored.expires_at, stored.retires_at) if moment is not None]
    return Identity(principal, stored.name, stored.stored_state, stored.created_at, min(ends, default=None))


def identify_by(source: Reader, now: datetime, read: Callable[..., Credential], *sent: str | None) -> Identity:
    """Return whose credential `read` finds in what was sent; neither is looked into where the answer is known.

    Raises:
        Unauthenticated, AmbiguousCredential: what `read` and `identify` raise.
    """

    def make() -> Identity:
        return identify(source, now, read(*sent))

    found = derived(source, (read, digest_of_sent(*sent)), make)
    return found if found.until is None or found.until > now else make()


def digest_of_sent(*sent: str | None) -> bytes:
    """Return a digest of texts as they were sent, to remember by it what they prove; it holds no credential."""
    texts = "\n".join([_NOT_SENT if text is None else text for text in sent])
    return sha256(texts.encode("utf-8", "surrogatepass")).digest()
