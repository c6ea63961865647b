"""What a destination holds before a new key is put there: whether it may make way, or would be lost.

A destination answers digests only. Whose key a digest is, the server knows; a value that is nobody's key is foreign.
"""

from dataclasses import dataclass
from typing import Final

from mushu.cli.answers import Answer, id_of, text_of
from mushu.cli.keyring import Keyring

#: The states in which a key is over for good: losing its value costs nobody anything.
_OVER: Final = ("revoked", "failed")
_PENDING: Final = "pending"
_ELSEWHERE: Final = "Name another place, or overwrite it with --force."


@dataclass(frozen=True, slots=True)
class OverwriteRule:
    """Judges what is held at the destinations of one delivery."""

    keyring: Keyring
    #: Whatever is held may be lost.
    force: bool = False
    #: The id of the key whose place the new one takes, where one is rotated.
    replacing: str | None = None

    def objection(self, uri: str, digest: str) -> str | None:
        """Return why what is held must stay, and the way out; None where it may be overwritten.

        Args:
            digest: SHA-256 of what is held, which the server is asked about unless everything may be lost.

        Raises:
            Failure: the server could not be asked.
        """
        if self.force:
            return None
        key = self.keyring.find_by_digest(digest)
        if key is None:
            return (
                f"{uri} holds a value already. Name another variable, remove the value, or overwrite it with --force."
            )
        if self._may_make_way(key):
            return None
        key_id, state = id_of(key, "key_id"), text_of(key, "state")
        if self.replacing is not None and key.get("replaces") == self.replacing and state != _PENDING:
            return f"{uri} holds {key_id}, which has taken the place of {self.replacing} already."
        return _objection(uri, key_id, state)

    def _may_make_way(self, key: Answer) -> bool:
        if text_of(key, "state") in _OVER:
            return True
        # It retires in favour of the key that is rotated: what it was put back to when a hand-over was not heard of.
        return self.replacing is not None and self.replacing in (key.get("key_id"), key.get("replaced_by"))


def _objection(uri: str, key_id: str, state: str) -> str:
    if state == _PENDING:
        return (
            f"{uri} holds {key_id}, which is pending: it is being delivered, or its delivery was cut off. Then delete "
            f"it (mushu api-key delete {key_id}) and try again."
        )
    return (
        f"{uri} holds {key_id}, a key that is {state}. `mushu api-key rotate {key_id} --to URI` puts a new one in its "
        f"place. {_ELSEWHERE}"
    )
