"""What is told of a thing, over HTTP and by the commands alike: the same fields in the same order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Membership, Organization
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
    if delivered_to:
        answer["delivered_to"] = list(delivered_to)
    return answer
