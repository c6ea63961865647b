"""A key that is put into a place of this machine unseen; the phases stand in order in `deliver`.

The server keeps the key pending until it is told the digest that was read back, so a client that dies anywhere leaves
a key that opens nothing. The plaintext is in the memory of this process and in the destinations, nowhere else.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from mushu.cli.answers import Answer
from mushu.cli.faults import Failure
from mushu.cli.keyring import Environment, Keyring
from mushu.cli.output import note
from mushu.cli.pending import PendingKey
from mushu.cli.stops import Stop
from mushu.destination import DestinationError
from mushu.keyformat import mask

#: What is answered of a delivered key, in the contract's order; never the key.
_ANSWERED: Final = ("key_id", "name", "scopes", "created_at", "environment", "expires_at")


def deliver(
    keyring: Keyring, environment: Environment, request: dict[str, Any], stops: Sequence[Stop], *, force: bool
) -> Answer:
    """Create a key, bring it to every destination, and return the contract's answer without the key.

    Args:
        force: overwrite what a destination holds.

    Raises:
        Failure: the key was not delivered, and is dead or inert; what was written was put back, or the sentence says
            where not.
    """
    _check(stops, force=force)  # 1. Nothing is created that could not be delivered.
    pending = PendingKey.create(keyring, environment, request)  # 2. It opens nothing.
    try:
        proofs = _write_and_prove(pending, stops)  # 3.
        pending.confirm(proofs)  # 4. It works.
    except DestinationError as error:
        reason = str(error)
    except Failure as failure:
        reason = failure.message
    except KeyboardInterrupt:
        note(_give_up(pending, stops, "Interrupted."))
        raise
    else:
        return _answer(pending.answer) | {"delivered_to": [stop.uri for stop in stops]}
    raise Failure(_give_up(pending, stops, reason))


def _check(stops: Sequence[Stop], *, force: bool) -> None:
    try:
        for stop in stops:
            stop.check(force=force)
    except DestinationError as error:
        reason = str(error)
    else:
        return
    raise Failure(f"{reason} No key was created.")


def _write_and_prove(pending: PendingKey, stops: Sequence[Stop]) -> list[dict[str, str]]:
    """Write to every destination, read back from every one, and return what to tell the server."""
    attempt_id = secrets.token_hex(16)
    for stop in stops:
        stop.write(pending.secret, attempt_id, pending.key_id)
    return [{"place": stop.uri, "digest": stop.read_back(pending.secret)} for stop in stops]


def _give_up(pending: PendingKey, stops: Sequence[Stop], reason: str) -> str:
    """Delete the key, then put back what was written, and return what to tell the user."""
    deleted = pending.delete()
    left = [stop.uri for stop in reversed(stops) if not stop.put_back(pending.secret)]
    if left:
        return f"{reason} {deleted} Its value could not be taken back from {', '.join(left)}: remove it there."
    return f"{reason} {deleted} What was written was put back."


def _answer(answer: Answer) -> Answer:
    known: Answer = {name: answer[name] for name in _ANSWERED if name in answer}
    return known | {"name": mask(str(known.get("name")))}
