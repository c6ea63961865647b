"""`mushu api-key rotate`, `extend`, `update`, `deliveries`: a key and its successor, its bounds, where it was put."""

import shlex
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import click

from mushu.cli.answers import Answer, without_secrets
from mushu.cli.client.api_keys import ApiKeys
from mushu.cli.errors import Failure, Refused
from mushu.cli.options import (
    DurationType,
    always_json,
    as_json,
    connecting,
    deliver_to,
    from_now,
    key_id,
    org,
    pass_session,
)
from mushu.cli.output import Column, print_done, print_json, print_new_key, print_rows
from mushu.cli.session import Session
from mushu.duration import written_duration

_LEDGER: Final = (
    Column("uri", "DESTINATION"),
    Column("state", "STATE"),
    Column("version", "VERSION"),
    Column("delivered_at", "DELIVERED"),
    Column("verified_at", "VERIFIED"),
    Column("checked_at", "CHECKED"),
    Column("condition", "CONDITION"),
    Column("delivered_by", "BY"),
    Column("error", "ERROR"),
)
_INVALID: Final = "invalid_input"
limits = click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help="How often it may be used, as 10/second, 100/minute, 5000/day or 50000/total; repeatable.",
)
networks = click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="A network that it may be used from; repeatable."
)
#: Not deleted: the old key would make way for nothing.
_LOST: Final = "Rotate it in turn: `mushu api-key rotate {key_id} --show`."


@click.command("rotate")
@key_id
@org
@click.option("--to", "uris", multiple=True, metavar="URI", help="Put the new key there from here; repeatable.")
@deliver_to
@click.option("--with-url", is_flag=True, help="With --to: put MUSHU_URL beside the key, too, where there is none.")
@click.option("--show", is_flag=True, help="Print the new key, this one time, instead of putting it somewhere.")
@click.option("--force", is_flag=True, help="Overwrite a value there that is neither the old key nor a dead one.")
@click.option(
    "--settle", type=DurationType(), help="How long the old key works after the new one's first use; 1h if left out."
)
@click.option("--deadline", type=DurationType(), help="How long that first use is waited for; 7d if left out.")
@click.option(
    "--at-deadline",
    type=click.Choice(["keep", "revoke"]),
    help="Whether the old key then lives on, or ends; keep if left out.",
)
@click.option("--now", is_flag=True, help="End the old key once the new one is in its place, without waiting.")
@connecting
@always_json
@pass_session
def rotate(
    session: Session,
    key_id: str,
    org: str | None,
    uris: tuple[str, ...],
    names: tuple[str, ...],
    with_url: bool,
    show: bool,
    force: bool,
    settle: timedelta | None,
    deadline: timedelta | None,
    at_deadline: str | None,
    now: bool,
) -> None:
    """Put a new key in the place of a key, which works on until the new one was seen in use.

    It goes where the server put the old one, unless --to, --deliver-to or --show says otherwise.
    """
    if sum(map(bool, (uris, names, show))) > 1:
        raise click.UsageError("The new key goes somewhere with --to, --deliver-to or --show. One of the three.")
    if (force or with_url) and not uris:
        raise click.UsageError("--force and --with-url are about what a destination holds. They need --to.")
    terms = _terms(settle, deadline, at_deadline, now=now)
    if uris:
        _rotate_from_here(session, org, key_id, terms, uris, force=force, with_url=with_url)
        return
    from mushu.cli.client.new_key import ask_for_key, delete_unused

    ways: dict[str, Any] = {"deliver_to": list(names)} if names else {"delivery": "response"} if show else {}
    keys = session.api_keys(org)
    unheard = f"It may have been rotated all the same: see `mushu api-key show {key_id}`."
    rotated = partial(_rotate_on_server, keys, key_id, terms | ways)
    answer = ask_for_key(rotated, unheard, _LOST)

    def end(successor_id: str) -> str:
        ended = delete_unused(keys, keys.environment_of(key_id), successor_id)
        return f"{ended} `mushu api-key show {key_id}` tells how long the old key works. Create a new key."

    print_new_key(answer, end)


@click.command("extend")
@key_id
@org
@click.option("--for", "duration", type=DurationType(), required=True, help="How long from now, such as 6h.")
@connecting
@always_json
@pass_session
def extend(session: Session, key_id: str, org: str | None, duration: timedelta) -> None:
    """Let the old key of a rotation work longer; it must end later than it would, and before it expires."""
    print_json(without_secrets(session.api_keys(org).extend(key_id, from_now(duration))))


@click.command("deliveries")
@key_id
@org
@connecting
@as_json
@pass_session
def deliveries(session: Session, key_id: str, org: str | None, as_json: bool) -> None:
    """Show where a key was put, at which version, by which user, and what was found there since."""
    rows = [without_secrets(line) for line in session.api_keys(org).deliveries(key_id)]
    print_rows(_LEDGER, rows, json_wanted=as_json)


def _terms(settle: timedelta | None, deadline: timedelta | None, at_deadline: str | None, *, now: bool) -> Answer:
    """Return how long the old key lives on; what was left out is left to the server."""
    terms = {
        "settle": written_duration(settle) if settle is not None else None,
        "deadline": written_duration(deadline) if deadline is not None else None,
        "at_deadline": at_deadline,
        "now": now or None,
    }
    return {name: value for name, value in terms.items() if value is not None}


def _rotate_from_here(
    session: Session, org: str | None, key_id: str, terms: Answer, uris: Sequence[str], *, force: bool, with_url: bool
) -> None:
    from mushu.cli.client.new_key import PendingKey
    from mushu.cli.delivery import OverwriteRule, deliver, open_targets, put_url

    targets, keys = open_targets(uris), session.api_keys(org)
    mint = partial(PendingKey.succeed, keys, keys.environment_of(key_id), key_id, terms)
    print_done(deliver(mint, targets, OverwriteRule(keys, force=force, replacing=key_id)))
    if with_url:
        put_url(keys.server, targets)


def _rotate_on_server(keys: ApiKeys, key_id: str, request: Answer) -> Answer:
    """Rotate a key; for one that only a client can put back where it is, say where that is."""
    try:
        return keys.rotate(key_id, request)
    except Refused as refused:
        refusal = refused
    told_where = "delivery" in request or "deliver_to" in request  # then it is something else that is wrong
    places = _places_of_clients(keys, key_id) if refusal.code == _INVALID and not told_where else []
    if not places:
        raise refusal
    options = " ".join(f"--to {shlex.quote(place)}" for place in places)  # a user with the scope admin chose them
    raise Failure(
        f"{key_id} was put in its place by `mushu`, and the server cannot reach it there. Where it is used, run "
        f"`mushu api-key rotate {key_id} {options}`. Or have the new key printed, with --show."
    )


def _places_of_clients(keys: ApiKeys, key_id: str) -> list[str]:
    """Return where clients put the key, if the server put it nowhere."""
    there = [line for line in keys.deliveries(key_id) if line.get("state") == "verified"]
    return [str(line.get("uri")) for line in there] if all(line.get("by") == "client" for line in there) else []


@click.command("update")
@key_id
@limits
@click.option("--no-limits", is_flag=True, help="Let it be used as often as anybody likes.")
@networks
@click.option("--no-networks", is_flag=True, help="Let it be used from everywhere.")
@org
@connecting
@always_json
@pass_session
def update(
    session: Session,
    key_id: str,
    limits: tuple[str, ...],
    no_limits: bool,
    networks: tuple[str, ...],
    no_networks: bool,
    org: str | None,
) -> None:
    """Change how often a key may be used, and from which networks; what is not named stays."""
    if (limits and no_limits) or (networks and no_networks):
        raise click.UsageError("Give --limit or --no-limits, and --network or --no-networks; not both.")
    taken_back: dict[str, Any] = ({"limits": []} if no_limits else {}) | ({"networks": []} if no_networks else {})
    changes = restrictions(limits, networks) | taken_back
    if not changes:
        raise click.UsageError("Say what is to change: --limit, --no-limits, --network or --no-networks.")
    print_json(without_secrets(session.api_keys(org).restrict(key_id, changes)))


def restrictions(limits: Sequence[str], networks: Sequence[str]) -> dict[str, Any]:
    """Return how often and from where a key may be used; what was left out is not in it."""
    given = {"limits": list(limits), "networks": list(networks)}
    return {name: texts for name, texts in given.items() if texts}
