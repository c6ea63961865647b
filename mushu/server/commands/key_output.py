"""What commands print of keys: a new one, and hints that name commands and options of `flask`.

Services say what is the matter, and go on to HTTP as well, where there is no `--force`. What only a command offers is
added here, by what the finding says of itself.
"""

from collections.abc import Sequence
from functools import partial

from mushu.destination.target import put_url_beside
from mushu.server import answers
from mushu.server.commands.common import operator_context
from mushu.server.commands.printing import note, print_done, print_once
from mushu.server.core import db, get_core
from mushu.server.db import AnySession, reading
from mushu.server.delivery.drift import DriftResult
from mushu.server.delivery.inspection import seen_of
from mushu.server.delivery.models import Condition
from mushu.server.delivery.named_destinations import deliveries_of_living, named_by_others
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.context import Minted
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.maintain import DueRotation


def print_minted(minted: Minted) -> None:
    """Print a new key as the answer, and warn of what others have in its destinations."""
    answer = answers.created_key(minted.key, minted.secret, minted.delivered_to, minted.replaces)
    if minted.secret is None:
        print_done(answer)
    else:
        print_once(answer, partial(_end, minted))
    about = (db.session, minted.key, minted.delivered_to)
    for warning in [*seen_of(db.session, minted.key.id), *_of_places_of_others(*about), *_of_places_elsewhere(*about)]:
        note(warning)


def put_url(minted: Minted) -> None:
    """Put the address of this server beside a delivered key, and say where it is not."""
    core = get_core()
    for uri in minted.delivered_to:
        problem = put_url_beside(core.open_destination, uri, core.settings.base_url)
        if problem is not None:
            note(problem)


def _end(minted: Minted) -> str:
    """Delete a key that nobody has seen; return what to tell of it."""
    delete(operator_context(), minted.key.id)
    if minted.replaces is None:
        return f"{minted.key.id} was deleted. Create another."
    return (
        f"{minted.key.id} was deleted. `flask keys show {minted.replaces}` tells how long the old key works. Create a "
        "new key."
    )


def of_due(done: DueRotation) -> str:
    """Return why a key that is due was not rotated, with the command that can do it all the same."""
    way = f" `flask keys rotate {done.key_id} --force` overwrites it." if done.overwritable else ""
    return f"{done.refusal}{way}"


def of_drift(found: DriftResult) -> str:
    """Return what is wrong at a destination, and what puts a key there again; empty where all is well."""
    if found.condition not in (Condition.MISSING, Condition.DRIFTED):
        return found.detail
    match found.key_state:
        case State.DISABLED:
            way = f"The key is disabled; `flask keys enable {found.key_id}`, then `flask keys rotate {found.key_id}`."
        case State.RETIRING:
            way = "The key is retiring, and needs no place any more once its successor is in use."
        case _:
            force = "; --force if it is not one of Mushu's keys" if found.condition is Condition.DRIFTED else ""
            way = f"`flask keys rotate {found.key_id}` puts a new key there{force}."
    return f"{found.detail} {way}"


def _of_places_elsewhere(session: AnySession, key: ApiKey, uris: Sequence[str]) -> list[str]:
    """Return a sentence for each living key that is at a URI of a new one, too, in a place of its own.

    Not an error: two servers, namespaces or machines are two places. But one of them may have been meant by mistake.
    Owns its transaction.
    """
    with reading(session):
        found = deliveries_of_living(session, uris)
    mine = {delivery.uri: delivery.location for delivery, holder in found if holder.id == key.id}
    return [
        f"{holder.id} is at this URI, too, at {delivery.location or 'a location that the ledger does not know'}; "
        f"{key.id} is at {mine[delivery.uri] or 'an unknown location'}. If that was not meant: "
        f"`flask keys delete {key.id}`."
        for delivery, holder in found
        if mine.get(delivery.uri, delivery.location) != delivery.location
    ]


def _of_places_of_others(session: AnySession, key: ApiKey, uris: Sequence[str]) -> list[str]:
    """Return a sentence for each of the places of a new key that is a named destination of another organization.

    Not an error: nothing was lost, and an operator may mean it. But it is done with that organization's credentials,
    and it can neither use nor give up its destination as long as the key lives. Owns its transaction.
    """
    with reading(session):
        named = named_by_others(session, uris, key.org_id)
    return [
        f"{place.uri} is the destination {place.name} of {place.org_id}, which can use it for no key of its own while "
        f"{key.id} lives there. If that was not meant: `flask keys delete {key.id}`."
        for place in named
    ]
