"""A key that is put into a place of this machine unseen; the phases stand in order in `deliver`.

The server keeps the key pending until it is told the digest that was read back, so a client that dies anywhere leaves
a key that opens nothing. The plaintext is in the memory of this process and in the destinations, nowhere else.
"""

import secrets
from collections.abc import Callable, Sequence

from mushu.cli.answers import Answer
from mushu.cli.faults import Failure
from mushu.cli.holders import Holders
from mushu.cli.output import note
from mushu.cli.pending import PendingKey
from mushu.cli.showing import delivered_answer
from mushu.cli.stops import Aftermath, Stop
from mushu.destination import DestinationError
from mushu.keyformat import mask


def deliver(mint: Callable[[], PendingKey], stops: Sequence[Stop], holders: Holders) -> Answer:
    """Create a key, bring it to every destination, and return the contract's answer without the key.

    Args:
        mint: has the server make the key, whether it is simply new or the successor of another.
        holders: judges what the destinations hold.

    Raises:
        Failure: the key was not delivered, and is dead or inert; what was written was put back, or the sentence says
            where not.
    """
    _check(stops, holders)  # 1. Nothing is created that could not be delivered.
    pending = mint()  # 2. It opens nothing.
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
        answer = delivered_answer(pending.answer, [stop.uri for stop in stops])
        return answer | {"name": mask(str(answer.get("name")))}
    raise Failure(_give_up(pending, stops, reason))


def _check(stops: Sequence[Stop], holders: Holders) -> None:
    try:
        for stop in stops:
            stop.check(holders.objection)
    except DestinationError as error:
        reason = str(error)
    except Failure as failure:
        reason = failure.message
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
    """End the key, then put back what was written, and return what to tell the user."""
    ended = pending.give_up()
    if ended is None:  # the report had arrived: the key before it is retiring, and must not come back
        return f"{reason} By then {pending.key_id} had taken over from {pending.replaces}, and it stays where it is."
    found = [(stop.uri, stop.put_back(pending.secret)) for stop in reversed(stops)]
    left = [uri for uri, aftermath in found if aftermath is Aftermath.NOT_TAKEN_BACK]
    emptied = [uri for uri, aftermath in found if aftermath is Aftermath.EMPTIED]
    sentences = [reason, ended]
    if left:
        sentences.append(f"Its value could not be taken back from {', '.join(left)}: remove it there.")
    if emptied:
        sentences.append(f"What {', '.join(emptied)} held before could not be put back: nothing is there now.")
    return " ".join(sentences if left or emptied else [*sentences, "What was written was put back."])
