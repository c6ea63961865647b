"""`flask keys rotate`: one key, or all that are due."""

import click

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands import ways_out
from mushu.server.commands.common import as_json, note, operator, print_json, print_rows
from mushu.server.core import courier_for, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import issue_successor
from mushu.server.delivery.recovery import Verdict, any_unreachable
from mushu.server.delivery.removal import follow_journal
from mushu.server.delivery.rotation import Rotator, keep_house
from mushu.server.delivery.stalled import stalled_rotations
from mushu.server.errors import MushuError
from mushu.server.keys import rotation
from mushu.server.keys.models import AtDeadline
from mushu.server.keys.rotation import Terms
from mushu.server.orgs.service import resolve_org

_RESULTS = {"key_id": "KEY_ID", "name": "NAME", "result": "RESULT", "detail": "DETAIL"}
#: The exit status where nothing failed and yet somebody should look.
_ATTENTION = 3


@click.command("rotate")
@click.argument("key_id", required=False)
@click.option("--due", is_flag=True, help="Rotate every key whose interval is over; for a timer.")
@click.option("--org", help="With --due: of this organization only, and nothing else is done.")
@click.option(
    "--settle", default="1h", show_default=True, help="How long the old key works after the new one's first use."
)
@click.option("--deadline", default="7d", show_default=True, help="How long that first use is waited for.")
@click.option(
    "--at-deadline",
    type=click.Choice([choice.value for choice in AtDeadline]),
    default="keep",
    show_default=True,
    help="Whether the old key then lives on, or ends.",
)
@click.option("--now", "at_once", is_flag=True, help="End the old key at once, without waiting for anything.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Deliver it there instead; may be repeated.")
@click.option("--show-once", is_flag=True, help="Print the new key, this one time, instead of delivering it.")
@click.option("--force", is_flag=True, help="Overwrite a value there that is not Mushu's.")
@as_json
def rotate(
    key_id: str | None,
    due: bool,
    org: str | None,
    settle: str,
    deadline: str,
    at_deadline: str,
    at_once: bool,
    uris: tuple[str, ...],
    show_once: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Put a new key in the place of a key, which works on until the new one was seen in use."""
    if (key_id is None) != due or (due and (uris or show_once or force)) or (org and not due):
        raise click.UsageError("Name one key, or say --due (with --org, if you like) to rotate all that are due.")
    if show_once and uris:
        raise click.UsageError("Deliver the new key (--to), or print it (--show-once). One of the two.")
    terms = Terms(
        settle=parse_duration(settle),
        deadline=parse_duration(deadline),
        at_deadline=AtDeadline(at_deadline),
        at_once=at_once,
    )
    if due:
        _rotate_due(org, terms, as_json=as_json)
        return
    # In an old database that was put back a deleted key looks alive; its successor would be, and in no journal.
    follow_journal(db.session, get_core().clock, operator())
    if show_once:
        with writing(db.session):
            successor, secret = issue_successor(db.session, get_core().clock, operator(), str(key_id), terms)
        print_json(answers.created_key(successor, secret, replaces=key_id))
    else:
        successor, places = Rotator(courier_for(operator())).rotate(str(key_id), terms, uris, force=force)
        print_json(answers.created_key(successor, delivered_to=places, replaces=key_id))
        for warning in ways_out.of_places_of_others(db.session, successor, places):
            note(warning)


def _rotate_due(org: str | None, terms: Terms, *, as_json: bool) -> None:
    """Rotate what is due, and say which rotations have stalled; exit 1 if a key could not be rotated.

    Keep house before, unless one organization is named: that is done for all, and who names one means no other. The
    journal is followed all the same: a key that was deleted must have no successor.
    """
    courier = courier_for(operator())
    with reading(db.session):
        org_id = resolve_org(db.session, org).id if org is not None else None
    findings = keep_house(courier) if org_id is None else follow_journal(db.session, courier.clock, courier.actor)
    rows = [
        {"key_id": found.key_id, "name": None, "result": str(found.verdict), "detail": found.detail}
        for found in findings
    ]
    with reading(db.session):
        due = [(key.id, key.name) for key in rotation.keys_due(db.session, courier.clock(), org_id)]
    outcomes = [_rotate_one(Rotator(courier), key_id, name, terms) for key_id, name in due]
    with reading(db.session):
        stalled: list[dict[str, str | None]] = [
            {"key_id": found.key_id, "name": found.key_name, "result": "stalled", "detail": found.detail}
            for found in stalled_rotations(db.session, courier.clock(), org_id)
        ]
    rows += outcomes + stalled
    if rows or as_json:
        print_rows(rows, _RESULTS, json_wanted=as_json)
    else:
        click.echo("No key is due.")
    if any_unreachable(findings) or any(outcome["result"] == "failed" for outcome in outcomes):
        raise click.exceptions.Exit(1)
    if stalled or any(found.verdict is Verdict.DRIFTED for found in findings):
        raise click.exceptions.Exit(_ATTENTION)


def _rotate_one(rotator: Rotator, key_id: str, name: str, terms: Terms) -> dict[str, str | None]:
    row: dict[str, str | None] = {"key_id": key_id, "name": name}
    try:
        successor, places = rotator.rotate(key_id, terms)
    except MushuError as error:  # the others are due all the same
        return row | {"result": "failed", "detail": ways_out.of_refusal(error, f"flask keys rotate {key_id}")}
    return row | {"result": "rotated", "detail": f"{successor.id} is in {', '.join(places)}."}
