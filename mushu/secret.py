"""A value that must not be shown: it can be handed on, compared and hashed, but not printed.

Standard library only. Plugins import `Secret` from `mushu.destination`.
"""

import hashlib
import hmac
from typing import Final, NoReturn

_SHOWN: Final = "<secret>"


def digest_of(value: str) -> str:
    """Return the SHA-256 of `value` as 64 lower-case hexadecimal digits: the only form in which the server keeps it."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


class Secret:
    """Plaintext that no `repr`, `str`, format, pickle or copy gives away.

    Only `reveal` hands the value out, so a search for that name finds every place that can leak it.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the plaintext: for the one statement that writes it to its destination."""
        return self.__value

    def digest(self) -> str:
        """Return the SHA-256 of the plaintext in hexadecimal."""
        return digest_of(self.__value)

    def matches(self, digest: str | None) -> bool:
        """Tell, in constant time, whether `digest` is the SHA-256 of this secret."""
        return digest is not None and hmac.compare_digest(self.digest(), digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.matches(other.digest())

    # A dictionary keyed by a secret would keep it alive and iterate it into logs.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return _SHOWN

    def __str__(self) -> str:
        return _SHOWN

    def __format__(self, format_spec: str) -> str:
        return _SHOWN

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied: hand on the object itself")
