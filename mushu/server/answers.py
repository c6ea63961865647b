"""What is told of a thing, over HTTP and by the commands alike: the same fields in the same order."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from mushu.duration import written_duration
from mushu.secret import Secret
from mushu.server import rate_limits
from mushu.server.audit import AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.db import AnySession
from mushu.server.delivery.ledger import delivered_to
from mushu.server.delivery.models import Delivery
from mushu.server.figures import count_keys, hours_of_keys, total
from mushu.server.hygiene import Hygiene, Sort, list_keys_to_look_at
from mushu.server.keys import written_networks
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.keys.selection import Selection
from mushu.server.keys.states import State
from mushu.server.orgs.invitations import status_of
from mushu.server.orgs.models import Membership, Organization, OrgInvitation
from mushu.server.paging import Page, Window
from mushu.server.tokens.models import CliToken
from mushu.server.usage import KeyUse, uses_of
from mushu.server.usage.report import Bar, usage_of
from mushu.server.users.models import User

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Overview:
    """Where a key is, what came before and after it, and how it was used."""

    delivered_to: Sequence[str] = ()
    #: The id of the key whose place it took, or is to take.
    replaces: str | None = None
    #: The id of the key that took its place.
    replaced_by: str | None = None
    use: KeyUse | None = None


def overviews(session: AnySession, key_ids: Sequence[str]) -> dict[str, Overview]:
    """Return what is known, by key id, of every key that is asked for."""
    places, uses = delivered_to(session, key_ids), uses_of(session, key_ids)
    rotations = list_rotations_among(session, key_ids)
    replaces = {rotation.successor_id: rotation.predecessor_id for rotation in rotations}
    replaced_by = {rotation.predecessor_id: rotation.successor_id for rotation in rotations if rotation.handed_over_at}
    return {
        key_id: Overview(places.get(key_id, ()), replaces.get(key_id), replaced_by.get(key_id), uses.get(key_id))
        for key_id in key_ids
    }


def key_page(
    session: AnySession,
    now: datetime,
    org_id: str,
    selection: Selection,
    hygiene: Hygiene,
    window: Window,
    sort: Sort = Sort.CREATED,
) -> Page[Answer]:
    """Return a page of an organization's keys, as they are shown: over HTTP and by commands.

    Raises:
        what `list_keys_to_look_at` raises.
    """
    found = list_keys_to_look_at(session, now, org_id, selection, hygiene, window, sort)
    about = overviews(session, [key.id for key in found.rows])
    return found.shown(lambda key: shown_key(key, now, about[key.id]))


def key_summary(session: AnySession, now: datetime, org_id: str, selection: Selection, hygiene: Hygiene) -> Answer:
    """Answer the figures of the keys that a list with the same filters shows.

    Raises:
        what `count_keys` raises.
    """
    hours = hours_of_keys(session, now, org_id, selection, hygiene)
    requests, denials = total(hours)
    counts = asdict(count_keys(session, now, org_id, selection, hygiene))
    return counts | {"requests": requests, "denials": denials, "hours": [_bar(bar) for bar in hours]}


def created_key(
    key: ApiKey, secret: Secret | None = None, delivered_to: Sequence[str] = (), replaces: str | None = None
) -> Answer:
    """Answer a creation, in the order of the contract; a rotation with the id of the key that is replaced.

    Args:
        secret: the plaintext, for a key that is shown this once; None for one that was delivered.
    """
    rest: Answer = {
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "environment": key.environment,
    } | _where_they_apply(key, Overview(delivered_to, replaces))
    # Last, so that nothing can fail here with the plaintext in a variable.
    return {"key_id": key.id} | ({} if secret is None else {"key": secret.reveal()}) | rest


def shown_key(key: ApiKey, now: datetime, about: Overview) -> Answer:
    """Answer what may be known of a key: all but the key."""
    return {
        "key_id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "environment": key.environment,
        "state": key.state(now),
        "hint": key.hint,
    } | _where_they_apply(key, about)


def org(organization: Organization) -> Answer:
    return {
        "org_id": organization.id,
        "name": organization.name,
        "created_at": rfc3339(organization.created_at),
        "created_by": organization.created_by,
    } | ({} if organization.limits is None else {"limits": rate_limits.written(organization.limits)})


def member(membership: Membership, email: str) -> Answer:
    return {
        "user_id": membership.user_id,
        "org_id": membership.org_id,
        "role": membership.role,
        "joined_at": rfc3339(membership.joined_at),
        "email": email,
    }


def token(cli_token: CliToken) -> Answer:
    return {
        "token_id": cli_token.id,
        "client_name": cli_token.client_name,
        "issued_at": rfc3339(cli_token.issued_at),
        "expires_at": rfc3339(cli_token.expires_at),
    }


def invitation(invited: OrgInvitation, org_name: str, now: datetime, token: Secret | None = None) -> Answer:
    """Answer an invitation.

    Args:
        token: the plaintext, in the answer to its creation only.
    """
    return {
        "invite_id": invited.id,
        "org_id": invited.org_id,
        "invite_type": invited.invite_type,
        "role": invited.role,
        "invite_token": token.reveal() if token is not None else None,
        "status": status_of(invited, now),
        "invited_by": invited.invited_by,
        "created_at": rfc3339(invited.created_at),
        "org_name": org_name,
        "email": invited.email,
        "expires_at": rfc3339(invited.expires_at),
    }


def user(person: User) -> Answer:
    return {
        "user_id": person.id,
        "user_type": "user",
        "email": person.email,
        # Mushu sends no mail yet, so it has verified no address.
        "email_verified": False,
        "name": person.name,
        "created_at": rfc3339(person.created_at),
    }


def event(found: AuditEvent) -> Answer:
    """Answer one event of the audit trail."""
    return {
        "event_id": found.id,
        "at": rfc3339(found.at),
        "action": found.action,
        "actor_kind": found.actor_kind,
        "actor_id": found.actor_id,
        "target_id": found.target_id,
        "org_id": found.org_id,
        "details": found.details,
    }


def delivery(found: Delivery, name: str | None) -> Answer:
    """Answer one line of the ledger.

    Args:
        name: what the destination is called over HTTP, where it has a name.
    """
    moments = {
        "started_at": found.created_at,
        "delivered_at": found.delivered_at,
        "verified_at": found.verified_at,
        "checked_at": found.checked_at,
        "removed_at": found.removed_at,
    }
    texts = {"location": found.location or None, "destination": name, "version": found.version}
    texts |= {"condition": found.condition, "error": found.error}
    answer: Answer = {"uri": found.uri, "state": found.state, "by": "client" if found.on_client else "server"}
    answer |= {field: rfc3339(moment) for field, moment in moments.items() if moment is not None}
    answer |= {field: text for field, text in texts.items() if text is not None}
    return answer | {"delivered_by": found.delivered_by or "unknown"}


def usage(session: AnySession, now: datetime, key: ApiKey) -> Answer:
    """Answer what is known of the usage of a key, within the caller's transaction."""
    found = usage_of(session, now, key)
    answer: Answer = {"key_id": key.id, "requests": found.use.requests if found.use else 0, "denials": found.denials}
    last_denied = {} if found.last_denied_at is None else {"last_denied_at": rfc3339(found.last_denied_at)}
    return (
        answer
        | _of_use(found.use)
        | last_denied
        | {
            "unusual": list(found.unusual),
            "addresses": [
                {"address": seen.source, "last_used_at": rfc3339(seen.last_seen_at)} for seen in found.addresses
            ],
            "reasons": [
                {
                    "reason": denied.reason,
                    "denials": denied.denials,
                    "last_denied_at": rfc3339(denied.last_denied_at),
                    "last_denied_from": denied.last_denied_from,
                }
                for denied in found.reasons
            ],
            "hours": [_bar(bar) for bar in found.hours],
            "days": [_bar(bar) for bar in found.days],
        }
    )


def _bar(bar: Bar) -> Answer:
    return {"start": rfc3339(bar.start), "requests": bar.requests, "denials": bar.denials}


def _of_use(use: KeyUse | None) -> Answer:
    if use is None:
        return {}
    return {
        "first_used_at": rfc3339(use.first_used_at),
        "last_used_at": rfc3339(use.last_used_at),
        "last_used_from": use.last_used_from,
    }


def _where_they_apply(key: ApiKey, about: Overview) -> Answer:
    retiring = key.stored_state == State.RETIRING
    pending = key.stored_state == State.PENDING
    found = {
        "expires_at": _written(key.expires_at),
        "confirm_by": _written(key.confirm_by) if pending else None,
        "rotate_every": written_duration(timedelta(seconds=key.rotate_every)) if key.rotate_every else None,
        "rotate_at": _written(key.rotate_at),
        "replaces": about.replaces,
        "replaced_by": about.replaced_by,
        "retires_at": _written(key.retires_at) if retiring else None,
        "delivered_to": list(about.delivered_to) or None,
        "limits": rate_limits.written(key.limits),
        "networks": written_networks(key.networks),
    }
    return {field: value for field, value in found.items() if value is not None} | _of_use(about.use)


def _written(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None
