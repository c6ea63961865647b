"""What is told of a thing, over HTTP and by the commands alike: the same fields in the same order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.orgs.invitations import status_of
from mushu.server.orgs.models import Invitation, Membership, Organization
from mushu.server.tokens.models import CliToken
from mushu.server.users.models import User

Answer = dict[str, Any]


def created_key(key: ApiKey, secret: Secret | None = None, delivered_to: Sequence[str] = ()) -> Answer:
    """Answer a creation, in the order of the contract.

    Args:
        secret: the plaintext, for a key that is shown this once; None for one that was delivered.
    """
    answer: Answer = {"key_id": key.id}
    if secret is not None:
        answer["key"] = secret.reveal()
    answer |= {
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "environment": key.environment,
    }
    return answer | _where_they_apply(key, delivered_to)


def shown_key(key: ApiKey, now: datetime, delivered_to: Sequence[str] = ()) -> Answer:
    """Answer what may be known of a key: all but the key."""
    return {
        "key_id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "environment": key.environment,
        "state": key.state(now),
        "hint": key.hint,
    } | _where_they_apply(key, delivered_to)


def org(organization: Organization) -> Answer:
    return {
        "org_id": organization.id,
        "name": organization.name,
        "created_at": rfc3339(organization.created_at),
        "created_by": organization.created_by,
    }


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


def invitation(invited: Invitation, org_name: str, now: datetime, token: Secret | None = None) -> Answer:
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


def _where_they_apply(key: ApiKey, delivered_to: Sequence[str]) -> Answer:
    answer: Answer = {}
    if key.expires_at is not None:
        answer["expires_at"] = rfc3339(key.expires_at)
    if key.confirm_by is not None and key.stored_state == State.PENDING:
        answer["confirm_by"] = rfc3339(key.confirm_by)
    if delivered_to:
        answer["delivered_to"] = list(delivered_to)
    return answer
