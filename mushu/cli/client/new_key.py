"""A new key: asked for with care for lost answers, and kept pending until its delivery is confirmed.

A successor takes over from the old key when it becomes active. From then on it must not be deleted, or no key would be
left; so its state is asked for before it is given up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from mushu.cli.answers import Answer, id_of, text_of
from mushu.cli.client.api_keys import ApiKeys
from mushu.cli.errors import ALREADY_CREATED, IN_PROGRESS, Failure, Refused, Unreachable, misunderstood
from mushu.environment import Environment
from mushu.keyformat import KEY_PREFIXES, WrongChecksum, WrongFormat, parse
from mushu.secret import Secret

#: Seconds to wait before a report whose answer got lost is made again.
_PAUSES: Final = (0.5, 1.0, 2.0)
_INVALID: Final = "invalid_input"
_NOT_FOUND: Final = "key_not_found"
_ACTIVE: Final = "active"
_GONE: Final = "revoked"
_BY_CLIENT: Final = {"delivery": "client"}
_SERVER_SIDE: Final = (
    "This server does not know deliveries by a client. Update it, or deliver on it: flask keys create."
)


def ask_for_key(ask: Callable[[], Answer], unheard: str, lost: str) -> Answer:
    """Have a key made that is printed or that the server delivers, and return the answer.

    Args:
        unheard: what may have happened all the same where no answer came.
        lost: what to do about the key `{key_id}`, which was in an answer that did not arrive.

    Raises:
        Failure: there is no key, or nobody can tell.
    """
    try:
        return ask()
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} {unheard}") from None
    except Refused as refusal:
        raise _explained(refusal, lost) from None


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key that opens nothing yet, and its plaintext, which only this process has."""

    keys: ApiKeys
    environment: Environment
    key_id: str
    secret: Secret
    #: What the server answered, without the key.
    answer: Answer
    #: The id of the key whose place it is to take; None for a key that is simply new.
    replaces: str | None = None

    @classmethod
    def create(cls, keys: ApiKeys, environment: Environment, request: dict[str, Any]) -> Self:
        """Create the key; one that cannot be worked with is deleted at once.

        Raises:
            Failure: there is none.
        """
        return cls._made(keys, environment, partial(keys.create, environment, request | _BY_CLIENT))

    @classmethod
    def succeed(cls, keys: ApiKeys, environment: Environment, key_id: str, terms: dict[str, Any]) -> Self:
        """Create the successor of a key, which works on as if nothing were; one that cannot be used is deleted at once.

        Args:
            terms: how long the old key lives on, as the server takes it.

        Raises:
            Failure: there is none.
        """
        rotate = partial(keys.rotate_in, environment, key_id, terms | _BY_CLIENT)
        return cls._made(keys, environment, rotate, replaces=key_id)

    @classmethod
    def _made(
        cls, keys: ApiKeys, environment: Environment, ask: Callable[[], Answer], replaces: str | None = None
    ) -> Self:
        answer = _asked(keys, environment, ask)
        return cls(keys, environment, *_taken_apart(keys, environment, answer), replaces=replaces)

    def confirm(self, proofs: list[dict[str, str]]) -> None:
        """Have the key activated. Where the answer got lost, look whether it is: the server may have heard.

        Args:
            proofs: the places, and the digests that were read back there.

        Raises:
            Failure: it is not active, or nobody can tell.
        """
        for seconds in _PAUSES:
            try:
                shown = self.keys.confirm(self.environment, self.key_id, proofs)
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

    def give_up(self) -> str | None:
        """End the key, and return what to tell the user about it; None if it has taken over already, and is to stay."""
        if self.replaces is not None:
            state = self._state()
            if state == _ACTIVE:
                return None
            if state is None:
                return (
                    f"It is not known whether {self.key_id} took over from {self.replaces}: mushu api-key show "
                    f"{self.key_id} tells. If it is active, rotate it in turn; if it is pending, it opens nothing."
                )
        return delete_unused(self.keys, self.environment, self.key_id)

    def _is_active(self) -> bool:
        return self._state() == _ACTIVE

    def _state(self) -> str | None:
        """Return the state, `revoked` for a key that is gone; None if it cannot be found out."""
        try:
            return text_of(self.keys.show_in(self.environment, self.key_id), "state")
        except Refused as refusal:
            return _GONE if refusal.code == _NOT_FOUND else None
        except Failure:
            return None


def _explained(refusal: Refused, lost: str) -> Failure:
    """Say for a person what the server says of a request that was asked again, since its answer did not arrive."""
    key_id = refusal.key_id
    if refusal.code == ALREADY_CREATED and key_id is not None:
        told = lost.format(key_id=key_id)
        return Failure(f"{key_id} was created, and the answer with the key was lost on the way. {told}")
    if refusal.code == IN_PROGRESS and key_id is not None:
        return Failure(f"The server is still delivering {key_id}. `mushu api-key show {key_id}` shows its state.")
    return refusal


def _asked(keys: ApiKeys, environment: Environment, ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except Refused as refusal:
        if refusal.code == _INVALID and "delivery" in refusal.message:
            raise Failure(_SERVER_SIDE) from None
        if refusal.code == ALREADY_CREATED and refusal.key_id is not None:
            ended = delete_unused(keys, environment, refusal.key_id)
            raise Failure(f"The answer with the key was lost on the way. {ended} Run the command again.") from None
        raise
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} If a key was created, it is pending and opens nothing.") from None


def _taken_apart(keys: ApiKeys, environment: Environment, answer: Answer) -> tuple[str, Secret, Answer]:
    """Return the id and the key of what was created, and the rest; delete what cannot be worked with.

    Raises:
        Failure: it cannot.
    """
    key_id, secret = id_of(answer, "key_id"), answer.pop("key", None)
    if not isinstance(secret, Secret) or not _is_key(secret, environment):
        fault = misunderstood(f"it holds no {environment} key").message
    elif not isinstance(answer.get("confirm_by"), str):
        fault = _SERVER_SIDE  # it made an active key
    else:
        return key_id, secret, answer
    raise Failure(f"{fault} {delete_unused(keys, environment, key_id)}")


def _is_key(secret: Secret, environment: Environment) -> bool:
    # What a server invents could break out of the line of a file that it is written to.
    try:
        return parse(secret.reveal()) is KEY_PREFIXES[environment]
    except (WrongFormat, WrongChecksum):
        return False


def delete_unused(keys: ApiKeys, environment: Environment, key_id: str) -> str:
    """Delete a key that nobody has got, and return what to tell the user about it."""
    try:
        keys.delete_in(environment, key_id)
    except Failure as failure:
        return f"{key_id} could not be deleted ({failure.message}) Delete it: mushu api-key delete {key_id}."
    return f"{key_id} was deleted."
