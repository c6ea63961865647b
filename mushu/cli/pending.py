"""A key that the server keeps inert until its delivery is confirmed: how it begins, becomes active, or is deleted."""

import time
from dataclasses import dataclass
from typing import Any, Final, Self

from mushu.cli.answers import Answer, id_of, text_of
from mushu.cli.faults import Failure, Refused, Unreachable, misunderstood
from mushu.cli.keyring import Environment, Keyring
from mushu.keyformat import MalformedCredential, MistypedCredential, Prefix, parse
from mushu.secret import Secret

_PREFIXES: Final = {"live": Prefix.LIVE_KEY, "test": Prefix.TEST_KEY}
#: Seconds to wait before a report whose answer got lost is made again.
_PAUSES: Final = (0.5, 1.0, 2.0)
_INVALID: Final = "invalid_input"
_ACTIVE: Final = "active"
_SERVER_SIDE: Final = (
    "This server does not know deliveries by a client. Update it, or deliver on it: flask keys create."
)


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key that opens nothing yet, and its plaintext, which only this process has."""

    keyring: Keyring
    environment: Environment
    key_id: str
    secret: Secret
    #: What the server answered, without the key.
    answer: Answer

    @classmethod
    def create(cls, keyring: Keyring, environment: Environment, request: dict[str, Any]) -> Self:
        """Create the key; one that cannot be worked with is deleted at once.

        Raises:
            Failure: there is none.
        """
        answer = _created(keyring, environment, request)
        key_id, secret = id_of(answer, "key_id"), answer.pop("key", None)
        if not isinstance(secret, Secret) or not _is_key(secret, environment):
            fault = misunderstood(f"it holds no {environment} key").message
        elif not isinstance(answer.get("confirm_by"), str):
            fault = _SERVER_SIDE  # it made an active key
        else:
            return cls(keyring, environment, key_id, secret, answer)
        raise Failure(f"{fault} {_deleted(keyring, environment, key_id)}")

    def confirm(self, proofs: list[dict[str, str]]) -> None:
        """Have the key activated. Where the answer got lost, look whether it is: the server may have heard.

        Args:
            proofs: the places, and the digests that were read back there.

        Raises:
            Failure: it is not active, or nobody can tell.
        """
        for seconds in _PAUSES:
            try:
                shown = self.keyring.confirm(self.environment, self.key_id, proofs)
            except Unreachable as failure:
                lost = failure
            except Refused:
                if self._is_active():  # an earlier report had arrived
                    return
                raise
            else:
                if text_of(shown, "state") != _ACTIVE:
                    raise misunderstood("the key is not active after its delivery was confirmed")
                return
            time.sleep(seconds)
        if not self._is_active():
            raise lost

    def delete(self) -> str:
        """Delete the key, and return what to tell the user about it."""
        return _deleted(self.keyring, self.environment, self.key_id)

    def _is_active(self) -> bool:
        try:
            return self.keyring.show_in(self.environment, self.key_id).get("state") == _ACTIVE
        except Failure:
            return False


def _created(keyring: Keyring, environment: Environment, request: dict[str, Any]) -> Answer:
    try:
        return keyring.create(environment, request | {"delivery": "client"})
    except Refused as refusal:
        if refusal.code == _INVALID and "delivery" in refusal.message:
            raise Failure(_SERVER_SIDE) from None
        raise
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} If a key was created, it is pending and opens nothing.") from None


def _is_key(secret: Secret, environment: Environment) -> bool:
    # What a server invents could break out of the line of a file that it is written to.
    try:
        return parse(secret.reveal()) is _PREFIXES[environment]
    except (MalformedCredential, MistypedCredential):
        return False


def _deleted(keyring: Keyring, environment: Environment, key_id: str) -> str:
    try:
        keyring.delete_in(environment, key_id)
    except Failure as failure:
        return f"{key_id} could not be deleted ({failure.message}) Delete it: mushu api-key delete {key_id}."
    return f"{key_id} was deleted."
