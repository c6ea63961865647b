"""What is printed of a new key: the key, this one time, or where it was put."""

import sys
from collections.abc import Callable, Sequence
from typing import Final

from mushu.cli.answers import Answer, without_secrets
from mushu.cli.faults import ALREADY_CREATED, IN_PROGRESS, Failure, Refused, Unreachable, misunderstood
from mushu.cli.output import note, print_json
from mushu.secret import Secret

#: The order of the answer to a creation; what else the server tells comes after.
_CONTRACT: Final = ("key_id", "key", "name", "scopes", "created_at")
#: What is answered of a delivered key, in the contract's order; never the key.
_OF_DELIVERED: Final = (
    "key_id", "name", "scopes", "created_at", "environment", "expires_at", "rotate_every", "rotate_at", "replaces",
)  # fmt: skip
_PLACES: Final = "delivered_to"


def delivered_answer(answer: Answer, places: Sequence[object]) -> Answer:
    """Return what is told of a key that was put into these places, without the key."""
    return {name: answer[name] for name in _OF_DELIVERED if name in answer} | {_PLACES: list(places)}


def print_new(ask: Callable[[], Answer], unheard: str, lost: str) -> None:
    """Have a key made, and print the answer: where the server put it, or the key in it, this one time.

    Args:
        unheard: what may have happened all the same where no answer came.
        lost: what to do about the key `{key_id}`, which was in an answer that did not arrive.

    Raises:
        Failure: there is no key, or nobody can tell.
    """
    try:
        answer = ask()
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} {unheard}") from None
    except Refused as refusal:
        raise _explained(refusal, lost) from None
    places = answer.get(_PLACES)
    if isinstance(places, list) and places:
        print_json(delivered_answer(without_secrets(answer), places))
    else:
        _print_once(answer)


def _explained(refusal: Refused, lost: str) -> Failure:
    """Say for a person what the server says of a request that was asked again, since its answer did not arrive."""
    key_id = refusal.key_id
    if refusal.code == ALREADY_CREATED and key_id is not None:
        told = lost.format(key_id=key_id)
        return Failure(f"{key_id} was created, and the answer with the key was lost on the way. {told}")
    if refusal.code == IN_PROGRESS and key_id is not None:
        return Failure(f"The server is still delivering {key_id}. `mushu api-key show {key_id}` tells what came of it.")
    return refusal


def _print_once(answer: Answer) -> None:
    key = answer.get("key")
    if not isinstance(key, Secret):
        raise misunderstood("it holds no key")
    ordered = {name: answer[name] for name in _CONTRACT if name in answer} | answer
    print_json({name: value.reveal() if value is key else value for name, value in ordered.items()})
    if sys.stdout.isatty():
        note("The key is shown this one time. Next time, --to puts it where it is used, unseen.")
